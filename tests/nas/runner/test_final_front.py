"""The final front where a device is noisy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from fakes import run_in, tiny_study
from run_folders import copy_run

from nas import Accuracy, LatencyMs, NumParams, Recipe, Trust, Winners
from nas.choices import Option
from nas.compression import Lab, Model
from nas.devices import Timings
from nas.report.results import Results
from nas.report.tables import final_front_table
from nas.space import SearchSpace
from nas.study import Study

ROUNDS = 3
OPENED: list[int] = []
"""How many networks each session of the fake device held, the reference network among them."""


class NoisySession:
    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def time(self, order: Sequence[int], runs: int) -> Timings:
        return Timings(1e-3 * self._rng.normal(1.0, 0.02, (len(order), runs)))


@dataclass(frozen=True)
class EquallyFast:
    """A device on which every network takes a millisecond, measured with an error of 2 %."""

    def identity(self) -> str:
        return "a fake"

    @contextmanager
    def open(self, models: Sequence[bytes], batch_size: int) -> Iterator[NoisySession]:
        OPENED.append(len(models))
        yield NoisySession(len(OPENED))


@dataclass(frozen=True)
class Copied:
    """A pass that changes nothing, so that its file is exactly as fast."""

    name: str = "copied"
    works_on: Literal["module", "file"] = "file"
    trains: bool = False

    def choices(self) -> SearchSpace:
        return SearchSpace(())

    def apply(self, model: Model, options: Mapping[str, Option], lab: Lab) -> Model:
        return replace(model, applied=(*model.applied, "copied"))


def noisy_study(rounds: int) -> Study:
    recipe = Recipe(epochs=1, batch_size=64, learning_rate=1e-3)
    return tiny_study(
        objectives=(
            Accuracy(),
            NumParams(),
            LatencyMs(device=EquallyFast(), short_seconds=0.01, long_seconds=0.1),
        ),
        trust=Trust(count=0),
        winners=Winners(count=1, recipe=recipe, passes=(Copied(),), tie_rounds=rounds),
    )


@pytest.fixture(scope="module")
def noisy_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "noisy"
    run_in(noisy_study(ROUNDS), out)
    return out


def test_what_can_not_be_told_apart_is_tied_on_the_front_and_said(noisy_run: Path) -> None:
    results = Results.read(noisy_run / "report.json")
    (winner,) = results.winners
    assert [v.on_front for v in winner.variants] == [True, True]
    assert [v.shipped for v in winner.variants] == [True, True]
    assert [v.tied_with for v in winner.variants] == [(f"{winner.id} copied",), (f"{winner.id} fp32",)]
    for text in (noisy_run / "report.md", noisy_run / "winners" / winner.id / "README.md"):
        assert f"yes; tied with {winner.id} copied" in text.read_text()
    assert [row[-1] for row in final_front_table(results).rows] == [
        f"{winner.id} copied",
        f"{winner.id} fp32",
    ]
    assert "as far as the noise" in (noisy_run / "winners" / "README.md").read_text()


def test_ties_were_measured_again_as_often_as_they_may(noisy_run: Path) -> None:
    (winner,) = Results.read(noisy_run / "report.json").winners
    first, again = (noisy_run / "winners" / f"{name}.json" for name in ("measurements", "measured_again"))
    assert first.exists()
    assert again.exists()
    assert OPENED[-2 * (1 + ROUNDS) :] == [3] * 2 * (1 + ROUNDS)  # two sessions of each measurement
    values = [v.values["latency_ms"].value for v in winner.variants]
    assert values == [pytest.approx(0.96, rel=0.03)] * 2  # low quantiles of a normal error of 2 %


def test_the_same_command_measures_nothing_again(noisy_run: Path, tmp_path: Path) -> None:
    copy = copy_run(noisy_run, tmp_path / "noisy")
    before, known = len(OPENED), Results.read(copy / "report.json").winners
    assert run_in(noisy_study(ROUNDS), copy).winners == known
    assert len(OPENED) == before
    fewer = run_in(noisy_study(0), copy).winners[0].variants[0].values["latency_ms"]
    assert fewer.repeats * (1 + ROUNDS) == pytest.approx(
        known[0].variants[0].values["latency_ms"].repeats, rel=0.3
    )
    assert len(OPENED) == before
