from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from torch import nn

from benchmarks import supernet_table
from benchmarks.supernet_table import Lines, Plan, make_table
from benchmarks.tables.supernet import SupernetTable, read_table
from nas import Accuracy, Macs, Recipe, SinglePath, Study, SurrogateSearch, choice
from nas.data import Digits
from nas.errors import StudyChangedError
from nas.supernet import elastic
from surrogates.mixture import Mixture

PLAN = Plan(
    architectures=20, alone=4, seeds=2, recipe=Recipe(epochs=1, batch_size=256), images=100, recalibration=64
)


def network() -> nn.Module:
    """Return 36 perceptrons."""
    layers: list[nn.Module] = [nn.Flatten()]
    width: object = 64
    for number in range(2):
        before, width = width, choice(f"layer{number}.width", 2, 4, 6, 8, 12, 16)
        layers += [elastic.Linear(before, width), nn.ReLU()]  # type: ignore[arg-type]
    return nn.Sequential(*layers, elastic.Linear(width, 10))  # type: ignore[arg-type]


STUDY = Study(
    name="tiny",
    network=network,
    data=Digits(),
    objectives=(Accuracy(), Macs()),
    recipe=Recipe(epochs=1, batch_size=256),
    training=SinglePath(),
    strategy=SurrogateSearch(Mixture),
)


@pytest.fixture(autouse=True)
def small_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, count in (("_UNIFORM", 6), ("_TILTED", 3), ("_NEAR_FRONT", 3), ("_ROUND", 12)):
        monkeypatch.setattr(supernet_table, name, count)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> SupernetTable:
    with pytest.MonkeyPatch.context() as patch:
        for name, count in (("_UNIFORM", 6), ("_TILTED", 3), ("_NEAR_FRONT", 3), ("_ROUND", 12)):
            patch.setattr(supernet_table, name, count)
        return read_table(make_table(STUDY, PLAN, tmp_path_factory.mktemp("whole")))


def test_a_table_holds_what_was_planned(whole: SupernetTable) -> None:
    assert len(np.unique(whole.positions, axis=0)) == len(whole.accuracy) == 20
    assert whole.timed.tolist() == [0, 10]
    assert (whole.latency_ms > 0).all()
    rows, alone = whole.read_trained_alone()
    assert len(set(rows.tolist())) == 4
    assert alone.shape == (4, 2)
    assert ((alone >= 0) & (alone <= 1)).all()


def test_a_killed_command_goes_on_as_if_nothing_had_been(
    whole: SupernetTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0
    judge = supernet_table.judge

    def killed(*arguments: object) -> dict[str, float]:
        nonlocal calls
        calls += 1
        if calls in (15, 23):  # among the last that are judged, and among those that are trained alone
            raise KeyboardInterrupt
        return judge(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(supernet_table, "judge", killed)
    for file in ("judged.jsonl", "alone.jsonl"):
        with pytest.raises(KeyboardInterrupt):
            make_table(STUDY, PLAN, tmp_path)
        with (tmp_path / file).open("a") as half:
            half.write('{"positions": "0')
    again = read_table(make_table(STUDY, PLAN, tmp_path))
    assert calls == 20 + 8 + 2
    for name in ("positions", "accuracy", "loss", "macs", "alone", "alone_seed", "alone_accuracy"):
        assert np.array_equal(getattr(again, name), getattr(whole, name)), name


def test_a_folder_of_another_plan_is_refused(tmp_path: Path) -> None:
    other = Plan(architectures=1, alone=1, seeds=1, recipe=PLAN.recipe, images=50, recalibration=64)
    make_table(STUDY, other, tmp_path)
    with pytest.raises(StudyChangedError, match="plan"):
        make_table(STUDY, PLAN, tmp_path)


def test_lines_leave_out_a_half_written_one(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_text('{"positions": "012"}\n{"posi')
    lines = Lines(path)
    lines.add({"positions": "210"})
    assert Lines(path).positions().tolist() == [[0, 1, 2], [2, 1, 0]]
