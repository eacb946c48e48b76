"""The same command again, with the same study and with another."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path

import pytest
import torch
from fakes import FewDigits, Listener, NearestSurrogate, digests, run_in, tiny_network, tiny_study
from run_folders import PAID, comparable, snapshot, trials
from torch import nn

from nas import (
    Accuracy,
    Constraint,
    Macs,
    NumParams,
    Recipe,
    SurrogateSearch,
    Trust,
    Winners,
    choice,
)
from nas.errors import (
    RunDirectoryError,
    StudyChangedError,
)
from nas.report.results import Results
from nas.splits import Splits
from nas.supernet import elastic


def test_running_again_pays_for_nothing(tiny_copy: Path) -> None:
    before, recorded = digests(tiny_copy, *PAID, "training.json"), trials(tiny_copy)
    times = {path: path.stat().st_mtime_ns for path in tiny_copy.rglob("*.safetensors")}
    first = Results.read(tiny_copy / "report.json")
    listener = Listener()
    again = run_in(tiny_study(), tiny_copy, listener)
    assert digests(tiny_copy, *PAID, "training.json") == before
    assert trials(tiny_copy) == recorded
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert comparable(again) == comparable(first)
    assert not {"train supernet", "search"} & set(listener.stages)


def test_two_runs_of_one_seed_are_equal_whatever_the_number_of_threads_for_a_small_network(
    tiny_run: Path, tmp_path: Path
) -> None:
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        run_in(tiny_study(), tmp_path / "other")
        assert torch.get_num_threads() == 2
        with pytest.raises(RunDirectoryError):
            run_in(tiny_study(), tmp_path / "other" / "run.json")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert digests(tmp_path / "other", *PAID) == digests(tiny_run, *PAID)
    assert trials(tmp_path / "other") == trials(tiny_run)


def test_more_evaluations_go_on_from_the_record(tiny_copy: Path) -> None:
    recorded = trials(tiny_copy)
    results = run_in(tiny_study(evaluations=9), tiny_copy)
    assert trials(tiny_copy)[:6] == recorded
    assert len(results.values) == 9


def test_other_winners_settings_are_no_other_study(tiny_copy: Path) -> None:
    recorded, supernet = trials(tiny_copy), digests(tiny_copy / "supernet", "*.safetensors")
    fewer = Winners(count=1, recipe=Recipe(epochs=2, batch_size=64, learning_rate=1e-3))
    results = run_in(tiny_study(winners=fewer, intended_use="None."), tiny_copy)
    assert len(results.winners) == 1
    assert trials(tiny_copy) == recorded
    assert digests(tiny_copy / "supernet", "*.safetensors") == supernet


def test_a_recipe_may_take_less_memory_in_the_same_directory(tiny_copy: Path) -> None:
    run_in(tiny_study(trust=Trust(recipe=Recipe(epochs=1))), tiny_copy)
    before = digests(tiny_copy, *PAID, "training.json", "trust/*.json")
    study = tiny_study(trust=Trust(recipe=Recipe(epochs=1, accumulate=2)))
    winners = dataclasses.replace(study.winners, recipe=less_memory(study.winners.recipe))
    run_in(dataclasses.replace(study, recipe=less_memory(study.recipe), winners=winners), tiny_copy)
    assert digests(tiny_copy, *PAID, "training.json", "trust/*.json") == before


def less_memory(recipe: Recipe) -> Recipe:
    return dataclasses.replace(recipe, accumulate=2, halve_on_oom=True)


def wide_network() -> nn.Module:
    width = choice("width", 2, 4, 16)
    return nn.Sequential(
        elastic.Conv2d(1, width, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), elastic.Linear(width, 10)
    )


@pytest.mark.parametrize(
    ("changes", "aspect"),
    [
        ({"seed": 1}, "seed"),
        ({"objectives": (Accuracy(), Macs())}, "objectives"),
        ({"objectives": (Accuracy(),)}, "objectives"),
        ({"network": wide_network}, "space"),
        ({"network": partial(tiny_network, channels=1)}, "network"),
        ({"data": FewDigits(seed=1)}, "data"),
        ({"recipe": Recipe(epochs=3, batch_size=64)}, "recipe"),
        ({"strategy": SurrogateSearch(NearestSurrogate, num_startup=5)}, "strategy"),
        ({"constraints": (Constraint(NumParams(), 1000),)}, "constraints"),
        ({"name": "other"}, "study"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_changed_study_is_refused_and_nothing_touched(
    tiny_run: Path, changes: dict[str, object], aspect: str
) -> None:
    before = snapshot(tiny_run)
    with pytest.raises(StudyChangedError, match=aspect) as caught:
        run_in(tiny_study(**changes), tiny_run)
    assert "\n" not in str(caught.value)
    assert snapshot(tiny_run) == before


class Guarded:
    """A split that must not be read before the winners are chosen and fine-tuned."""

    def __init__(self, part: object, listener: Listener, num_winners: int) -> None:
        self._part, self._listener, self._num_winners = part, listener, num_winners
        self.reads = 0

    def __len__(self) -> int:
        return len(self._part)  # type: ignore[arg-type]

    def _open(self, name: str) -> torch.Tensor:
        done = sum(stage == "finish winners" for stage, _ in self._listener.steps)
        # After the winners' own steps, or after the one that says that they are measured, and in no later stage.
        assert done in (self._num_winners, self._num_winners + 1), f"read after {self._listener.steps[-1:]}"
        assert self._listener.stages[-1] == "finish winners"
        self.reads += 1
        return getattr(self._part, name)  # type: ignore[no-any-return]

    @property
    def targets(self) -> torch.Tensor:
        return self._open("targets")

    def batch(self, rows: slice) -> torch.Tensor:
        return self._open("inputs")[rows]


def test_the_test_split_is_read_for_the_winners_alone_and_once(tmp_path: Path) -> None:
    listener, splits = Listener(), FewDigits().load()
    guarded = Guarded(splits.test, listener, num_winners=2)

    class Source:
        def load(self) -> Splits:
            return dataclasses.replace(splits, test=guarded)  # type: ignore[arg-type]

    study = tiny_study(data=Source())
    results = run_in(study, tmp_path / "run", listener)
    assert len(results.winners) == 2
    reads = guarded.reads
    assert reads > 0
    run_in(study, tmp_path / "run", listener)
    assert guarded.reads == reads
