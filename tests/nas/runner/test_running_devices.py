"""Runs whose latencies are measured on devices that come and go."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import optuna
import pytest
from fakes import run_in, tiny_study
from optuna.trial import TrialState

from nas import Accuracy, LatencyMs
from nas.devices import Session, Timings
from nas.errors import DeviceUnavailableError, ExportError, StudyChangedError
from nas.search.patience import Pauses
from nas.search.record.trials import LOST
from nas.study import Study


@dataclass
class Circumstances:
    """What happens to a board: how it is called, what it does before it opens, how often it was opened."""

    processor: str = "Cortex-X"
    before: Callable[[int], None] = lambda _number: None
    opened: int = 0


@dataclass(frozen=True)
class Board:
    """A device whose times follow from the sizes of the models' files."""

    name: str
    slow: float = 1.0
    now: Circumstances = field(default_factory=Circumstances, repr=False, compare=False)

    def identity(self) -> str:
        return f"{self.now.processor} of {self.name}"

    @contextlib.contextmanager
    def open(self, models: Sequence[bytes], batch_size: int) -> Iterator[Session]:
        self.now.opened += 1
        self.now.before(self.now.opened)
        yield _Timing([self.slow * batch_size * len(model) * 1e-7 for model in models])


@dataclass(frozen=True)
class _Timing:
    seconds: Sequence[float]

    def time(self, order: Sequence[int], runs: int) -> Timings:
        return Timings(np.repeat([[self.seconds[position]] for position in order], runs, axis=1))


def study_on(*boards: Board) -> Study:
    latencies = [LatencyMs(board, name=f"latency_ms_{board.name}") for board in boards]
    return tiny_study(objectives=(Accuracy(), *latencies))


def trials_of(path: Path) -> list[optuna.trial.FrozenTrial]:
    return optuna.load_study(study_name="tiny", storage=f"sqlite:///{path / 'study.db'}").trials


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Keep what would be waited for, and wait for nothing."""
    made: list[str] = []
    monkeypatch.setattr(Pauses, "wait", lambda _pauses, error: made.append(str(error)))
    return made


def test_two_devices_have_a_column_each_on_front_and_cards(tmp_path: Path) -> None:
    results = run_in(study_on(Board("pi"), Board("server", slow=0.1)), tmp_path / "run")
    for winner in results.winners:
        values = winner.variants[0].values
        assert values["latency_ms_pi"].value == pytest.approx(10 * values["latency_ms_server"].value)
        assert values["latency_ms_pi"].device == "Cortex-X of pi, batch 1"
        card = (tmp_path / "run" / "winners" / winner.id / "README.md").read_text()
        assert "latency_ms_pi" in card
        assert "Cortex-X of pi" in card
        assert "Cortex-X of server" in card


def test_a_device_that_is_away_costs_time_and_no_trial(tmp_path: Path, pauses: list[str]) -> None:
    luck = random.Random(0)

    def away(number: int) -> None:
        if luck.random() < 0.6:
            raise DeviceUnavailableError("the board pi doesn't answer")

    there, shaky = study_on(Board("pi")), study_on(Board("pi", now=Circumstances(before=away)))
    expected = run_in(there, tmp_path / "there")
    found = run_in(shaky, tmp_path / "shaky")
    assert len(pauses) >= 4
    failed = [t for t in trials_of(tmp_path / "shaky") if t.state == TrialState.FAIL]
    assert failed
    assert all(LOST in trial.user_attrs for trial in failed)
    assert [w.id for w in found.winners] == [w.id for w in expected.winners]
    assert found.trials["failed"] == 0
    assert found.trials["complete"] == expected.trials["complete"]


def test_what_a_device_can_not_run_is_heard_before_the_training(tmp_path: Path) -> None:
    def refuse(number: int) -> None:
        if number == 1:
            raise ExportError("the board's runtime can't run operator Resize")

    now = Circumstances(before=refuse)
    with pytest.raises(ExportError, match="operator Resize"):
        run_in(study_on(Board("pi", now=now)), tmp_path / "run")
    assert now.opened == 1
    assert not (tmp_path / "run" / "run.json").exists()


def test_another_device_ends_the_search_and_nothing_of_it_is_recorded(tmp_path: Path) -> None:
    now = Circumstances()
    study = study_on(Board("pi", now=now))

    def swap(number: int) -> None:
        if number == 6:
            now.processor = "Cortex-Y"

    now.before = swap
    with pytest.raises(
        StudyChangedError, match="Cortex-X of pi, batch 1, and the device is now Cortex-Y of pi"
    ):
        run_in(study, tmp_path / "run")
    before = trials_of(tmp_path / "run")
    assert not [t for t in before if t.state == TrialState.FAIL]
    with pytest.raises(StudyChangedError, match="Cortex-Y"):
        run_in(study, tmp_path / "run")
    assert len(trials_of(tmp_path / "run")) == len(before)
    now.processor = "Cortex-X"
    results = run_in(study, tmp_path / "run")
    assert results.trials["complete"] == study.evaluations
