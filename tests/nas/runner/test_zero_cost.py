"""Runs that score untrained networks before their search."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from fakes import Listener, run_in, tiny_study
from optuna.samplers import BaseSampler, RandomSampler

from nas import Accuracy, FromScratch, NumParams, Study, ZeroCost
from nas.errors import StudyChangedError, StudyError
from nas.evaluation.from_scratch import fresh_module
from nas.evaluation.zero_cost import COUNTED, SCORES, score_untrained
from nas.files import read_json
from nas.knowledge import Knowledge
from nas.progress import SCORE_UNTRAINED
from nas.report.results import Results
from nas.runner import zero_cost
from nas.runner.directory import RunDirectory
from nas.runner.preparation import prepare
from nas.runner.progress import Silent
from nas.runner.zero_cost import UntrainedNetworks, know_untrained
from nas.strategy import Problem

CPU, ALL = torch.device("cpu"), (*SCORES, *COUNTED)


@dataclass(frozen=True)
class Asking:
    """Random search that keeps the knowledge that it was offered."""

    uses_knowledge: ClassVar[bool] = True
    offered: list[tuple[Knowledge, ...]] = field(default_factory=list, repr=False)

    def sampler(self, problem: Problem, seed: int) -> BaseSampler:
        self.offered.append(problem.knowledge)
        return RandomSampler(seed=seed)


def scratch_study(**changes: Any) -> Study:
    settings = {"training": FromScratch(), "zero_cost": ZeroCost(ALL, at_least=12, at_most=12, items=16)}
    return tiny_study(**{**settings, "strategy": Asking(), **changes})


@pytest.fixture(scope="module")
def scored_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, Path, Listener]:
    study, out, listener = scratch_study(), tmp_path_factory.mktemp("runs") / "scored", Listener()
    run_in(study, out, listener)
    return study, out, listener


def test_the_search_knows_scores_of_the_quality(scored_run: tuple[Study, Path, Listener]) -> None:
    study, _, _ = scored_run
    assert isinstance(study.strategy, Asking)
    known = {source.name: source for source in study.strategy.offered[-1]}
    assert set(known) == {"synflow", "naswot", "jacov", "grad_norm", "parameters", "macs"}
    assert all(source.objective == "accuracy" for source in known.values())
    assert all(np.isfinite(source.values).all() for source in known.values())
    counts = prepare(study, CPU).counts(known["macs"].indices)
    assert known["macs"].values == pytest.approx(-np.log(counts.macs))  # as costs
    assert known["parameters"].values == pytest.approx(-np.log(counts.num_params))


def test_a_network_is_scored_with_the_weights_that_its_training_begins_with(
    scored_run: tuple[Study, Path, Listener],
) -> None:
    study, out, _ = scored_run
    prepared = prepare(study, CPU)
    untrained = UntrainedNetworks(prepared, RunDirectory(out))
    row = untrained.planned[:1]
    module = fresh_module(study.network, prepared.supernet.space.from_indices(row)[0], study.seed)
    expected = score_untrained("synflow", module, untrained._batch(), study.seed)
    assert untrained.values("synflow", row) == pytest.approx([expected], rel=1e-6)


def test_the_report_says_what_the_scores_cost_and_how_they_rank(
    scored_run: tuple[Study, Path, Listener],
) -> None:
    _, out, listener = scored_run
    told = (out / "report.md").read_text()
    assert "## What untrained networks told" in told
    assert (
        "Spearman's correlation of the scores with accuracy over 6 evaluated architectures: synflow " in told
    )
    assert Results.read(out / "report.json").facts["seconds"]["zero-cost scores"] > 0
    assert SCORE_UNTRAINED in listener.stages


def test_the_same_command_again_computes_and_proposes_nothing_new(
    scored_run: tuple[Study, Path, Listener], monkeypatch: pytest.MonkeyPatch
) -> None:
    study, out, _ = scored_run
    monkeypatch.setattr(zero_cost, "score_untrained", None)
    before = (out / "zero_cost.json").read_bytes()
    run_in(study, out)
    assert (out / "zero_cost.json").read_bytes() == before


class StopError(KeyboardInterrupt):
    """Ends a run as a kill would: nothing catches it."""


def test_a_killed_run_goes_on_with_the_scores_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared, calls = prepare(scratch_study(), CPU), []

    def stopping(name: str, *rest: Any) -> float:
        calls.append(name)
        if len(calls) == 4 * 5 + 1:
            raise StopError
        return scored(name, *rest)

    scored = zero_cost.score_untrained
    monkeypatch.setattr(zero_cost, "score_untrained", stopping)
    monkeypatch.setattr(zero_cost, "_STORED_EVERY_S", 0.0)
    killed, whole = RunDirectory(tmp_path / "killed"), RunDirectory(tmp_path / "whole")
    with pytest.raises(StopError):
        know_untrained(prepared, killed, Silent())
    known = know_untrained(prepared, killed, Silent()).problem.knowledge
    assert len(calls) == 4 * len(known[0].indices) + 1
    for source, expected in zip(
        known, know_untrained(prepared, whole, Silent()).problem.knowledge, strict=True
    ):
        assert np.array_equal(source.indices, expected.indices)
        assert np.array_equal(source.values, expected.values)


def test_scores_that_are_not_finite_are_left_out_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = iter(range(1000))
    monkeypatch.setattr(
        zero_cost,
        "score_untrained",
        lambda name, *_: float("nan") if name == "naswot" and next(numbers) % 3 == 0 else next(numbers),
    )
    study = scratch_study(zero_cost=ZeroCost(("naswot", "synflow"), at_least=12, at_most=12))
    results = run_in(study, tmp_path)
    assert isinstance(study.strategy, Asking)
    naswot, synflow = study.strategy.offered[-1]
    assert len(naswot.indices) < len(synflow.indices)
    assert np.isfinite(naswot.values).all()
    stored = read_json(tmp_path / "zero_cost.json")["result"]["scores"]
    assert any(None in values for values in stored.values())
    assert results.facts["zero_cost"]


def test_counted_scores_take_no_network(tmp_path: Path) -> None:
    study = scratch_study(zero_cost=ZeroCost(("parameters", "macs"), at_least=12, at_most=12))
    results = run_in(study, tmp_path)
    assert isinstance(study.strategy, Asking)
    assert [source.name for source in study.strategy.offered[-1]] == ["parameters", "macs"]
    assert results.facts["seconds"]["zero-cost scores"] == 0
    assert results.facts["zero_cost"]


def test_so_many_are_scored_as_the_share_of_the_trainings_allows(tmp_path: Path) -> None:
    long = scratch_study(evaluations=1000, zero_cost=ZeroCost(ALL, at_least=2, at_most=20, items=16))
    short = dataclasses.replace(long, evaluations=4, recipe=dataclasses.replace(long.recipe, epochs=1))
    made = [
        UntrainedNetworks(prepare(study, CPU), RunDirectory(tmp_path / name))
        for name, study in (("long", long), ("short", short), ("long", short))
    ]
    assert len(made[0].planned) > len(made[1].planned) >= 2
    assert np.array_equal(made[2].planned, made[0].planned), "a search that goes on knows what it knew"


@pytest.mark.parametrize(
    ("changes", "told"),
    [({"training": tiny_study().training}, "a supernet"), ({"zero_cost": "synflow"}, "ZeroCost()")],
)
def test_a_study_that_has_no_use_for_scores_is_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(StudyError, match=told):
        scratch_study(**changes)


def test_other_settings_need_another_directory(scored_run: tuple[Study, Path, Listener]) -> None:
    study, out, _ = scored_run
    with pytest.raises(StudyChangedError, match="zero_cost"):
        run_in(dataclasses.replace(study, zero_cost=None), out)


def test_without_scores_nothing_is_known(tmp_path: Path) -> None:
    prepared = prepare(tiny_study(objectives=(Accuracy(), NumParams())), CPU)
    assert know_untrained(prepared, RunDirectory(tmp_path), Silent()) is prepared
