from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from fakes import run_in, tiny_study

from nas import Constraint, NumParams, Recipe, Trust
from nas.runner.baselines import uniform_family
from nas.runner.preparation import prepare
from nas.search.record.trials import architecture_of


@pytest.fixture(autouse=True)
def few_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.runner.by_hand.SHARES", (1.0, 0.5, 0.25))


def trials(run: Path, name: str) -> list[tuple[dict[str, Any], list[float]]]:
    study = optuna.load_study(study_name=name, storage=f"sqlite:///{run / 'study.db'}")
    return [(trial.params, trial.values) for trial in study.trials]


@pytest.mark.draws
def test_baselines_have_the_same_budget_and_are_paid_for_once(tiny_copy: Path) -> None:
    results = run_in(tiny_study(evaluations=10), tiny_copy, baselines=True)
    assert [b.name for b in results.baselines] == ["random search", "uniform scaling", "pruned and quantized"]
    random, uniform, pruned = results.baselines
    assert len(random.values) == len(random.hypervolume) == 10
    assert 0 < len(uniform.values) <= 10
    assert "random search" in (tiny_copy / "report.md").read_text()
    sizes = [row[1] for row in pruned.values]
    assert sizes[0::2] == sizes[1::2] == sorted(sizes[0::2], reverse=True), (
        "float32 and int8, from large to small"
    )
    assert len(set(sizes)) > 1
    before = [trials(tiny_copy, f"tiny-{name}") for name in ("random", "uniform")]
    again = run_in(tiny_study(evaluations=10), tiny_copy, baselines=True)
    assert again.baselines == results.baselines
    assert [trials(tiny_copy, f"tiny-{name}") for name in ("random", "uniform")] == before


def test_baselines_meet_the_constraints_and_tell_what_they_are(tmp_path: Path) -> None:
    study = tiny_study(
        constraints=(Constraint(NumParams(), 800),),
        evaluations=2,
        recipe=Recipe(epochs=1),
        trust=Trust(count=0),
    )
    random, uniform, pruned = run_in(study, tmp_path / "run", baselines=True).baselines
    assert all(size <= 800 for baseline in (random, uniform, pruned) for _, size in baseline.values)
    assert uniform.note.startswith("the 2 smallest of ")
    assert 0 < len(pruned.values) < 6
    assert pruned.note.startswith(f"the largest network with {len(pruned.values) // 2} of 3 shares")


def test_a_kill_while_the_family_is_queued_lets_nothing_else_in(
    tiny_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue, calls = optuna.Study.enqueue_trial, []

    def dies(self: optuna.Study, *arguments: Any, **named: Any) -> None:
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        queue(self, *arguments, **named)

    monkeypatch.setattr(optuna.Study, "enqueue_trial", dies)
    with pytest.raises(KeyboardInterrupt):
        run_in(tiny_study(evaluations=10), tiny_copy, baselines=True)
    monkeypatch.setattr(optuna.Study, "enqueue_trial", queue)
    run_in(tiny_study(evaluations=10), tiny_copy, baselines=True)
    problem = prepare(tiny_study(), torch.device("cpu")).problem
    study = optuna.load_study(study_name="tiny-uniform", storage=f"sqlite:///{tiny_copy / 'study.db'}")
    found = {architecture_of(problem.space, trial) for trial in study.trials}
    assert len(found) == len(study.trials) >= 2
    assert found == set(uniform_family(problem)[:10])
