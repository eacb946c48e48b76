"""Runs that measure few latencies, and profiles of a device."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import optuna
import pytest
from fakes import Listener, edit_json, run_in, tiny_study

from nas import Accuracy, LatencyMs
from nas.devices import OnnxRuntime, Session, Timings
from nas.devices.latency_profile import LatencyProfile
from nas.errors import DamagedFileError, StudyError
from nas.objective import Measurement
from nas.runner.device_profile import device_of, latency_to_profile, profile_device
from nas.search.record.trials import complete_trials, measurements_of
from nas.study import Study

NAME = "latency_ms"


@dataclass
class Board:
    """A device whose times follow from the sizes of the models' files."""

    name: str = "pi"
    before: Callable[[int], None] = field(default=lambda _number: None, repr=False)
    opened: int = field(default=0, repr=False)

    def identity(self) -> str:
        return self.name

    @contextlib.contextmanager
    def open(self, models: Sequence[bytes], batch_size: int) -> Iterator[Session]:
        self.opened += 1
        self.before(self.opened)
        yield _Timing([len(model) * 1e-7 for model in models])


@dataclass(frozen=True)
class _Timing:
    seconds: Sequence[float]

    def time(self, order: Sequence[int], runs: int) -> Timings:
        return Timings(np.repeat([[self.seconds[position]] for position in order], runs, axis=1))


def sparing_study(board: Board, measurements: int | None = 12, profile: Path | None = None) -> Study:
    latency = LatencyMs(board, measurements=measurements, profile=profile)
    return tiny_study(objectives=(Accuracy(), latency), evaluations=16)


def latencies_of(path: Path) -> list[Measurement]:
    study = optuna.load_study(study_name="tiny", storage=f"sqlite:///{path / 'study.db'}")
    return [measurements_of(trial)[NAME] for trial in complete_trials(study)]


class Told(Listener):
    def __init__(self) -> None:
        super().__init__()
        self.sentences: list[str] = []

    def say(self, sentence: str) -> None:
        super().say(sentence)
        self.sentences.append(sentence)


def test_a_search_measures_as_few_latencies_as_it_may_and_says_so(tmp_path: Path) -> None:
    board, listener = Board(), Told()
    results = run_in(sparing_study(board), tmp_path / "run", listener)
    latencies = latencies_of(tmp_path / "run")
    measured = [latency for latency in latencies if latency.repeats > 0]
    predicted = [latency for latency in latencies if latency.repeats == 0]
    assert len(latencies) == 16
    told = f"was measured of {len(measured)} of 16 candidates"
    assert told in (tmp_path / "run" / "report.md").read_text()
    assert len(measured) <= 12
    assert predicted
    assert all(p.device.startswith("predicted from ") and p.device.endswith("pi, batch 1") for p in predicted)
    assert all(p.spread > 0 for p in predicted)
    assert f"{len(measured)} of 16 latency_ms were measured, the others predicted" in listener.sentences
    for winner in results.winners:
        assert winner.searched[NAME].repeats > 0
        assert all(variant.values[NAME].repeats > 0 for variant in winner.variants)
    again = board.opened
    run_in(sparing_study(board), tmp_path / "run")
    assert latencies_of(tmp_path / "run") == latencies
    assert board.opened == again


def test_a_search_that_was_killed_spares_the_same_latencies(tmp_path: Path) -> None:
    run_in(sparing_study(Board()), tmp_path / "whole")

    def stop(number: int) -> None:
        if number in (5, 11):
            raise KeyboardInterrupt

    board = Board(before=stop)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run_in(sparing_study(board), tmp_path / "killed")
    run_in(sparing_study(board), tmp_path / "killed")
    assert latencies_of(tmp_path / "killed") == latencies_of(tmp_path / "whole")


@pytest.fixture(scope="module")
def profile_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("profile") / "pi.json"
    told: list[str] = []
    study = sparing_study(Board())
    profile = profile_device(study, latency_to_profile(study, None, None), 15, told.append)
    profile.write(path)
    assert len(profile.latencies) == 15
    assert [found.measured for found in profile.held_out] == [10, 15]
    assert [sentence.split(" ")[0] for sentence in told] == ["10", "15"]
    return path


def test_a_profile_is_read_as_it_was_written_and_predicts(profile_file: Path) -> None:
    profile = LatencyProfile.load(profile_file)
    assert profile.device == "pi, batch 1"
    assert len(profile.architectures) == len(profile.latencies) == 15
    assert profile.held_out[-1].error < 0.1


def test_a_search_may_begin_with_a_profile(tmp_path: Path, profile_file: Path) -> None:
    results = run_in(sparing_study(Board(), 10, profile_file), tmp_path / "run")
    assert sum(latency.repeats > 0 for latency in latencies_of(tmp_path / "run")) <= 10
    assert results.winners


def test_a_profile_of_another_network_is_refused(tmp_path: Path, profile_file: Path) -> None:
    other = tmp_path / "other.json"
    other.write_bytes(profile_file.read_bytes())
    edit_json(other, lambda content: content["space"]["choices"].update(width=[2, 4, 16]))
    with pytest.raises(StudyError, match="other choices"):
        run_in(sparing_study(Board(), 10, other), tmp_path / "run")


def test_a_profile_that_is_not_there_or_damaged_is_told(tmp_path: Path, profile_file: Path) -> None:
    with pytest.raises(StudyError, match=r"no latency profile .*nothing\.json"):
        LatencyProfile.load(tmp_path / "nothing.json")
    damaged = tmp_path / "damaged.json"
    damaged.write_bytes(profile_file.read_bytes()[:-20])
    with pytest.raises(DamagedFileError, match="damaged"):
        LatencyProfile.load(damaged)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"measurements": 9}, "measurements=9: give an integer of 10 or more"),
        ({"measurements": True}, "measurements=True: give an integer"),
        ({"measurements": 12.0}, "measurements=12.0: give an integer"),
        ({"measurements": 12, "profile": "pi.json"}, "profile='pi.json': give the Path"),
        ({"profile": Path("pi.json")}, "measures every candidate"),
    ],
)
def test_settings_that_spare_nothing_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        LatencyMs(**settings)  # type: ignore[arg-type]


def test_a_run_goes_on_with_other_numbers_of_measurements() -> None:
    assert repr(LatencyMs(measurements=40)) == repr(LatencyMs())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nosuch:OnnxRuntime()", "No module named 'nosuch'"),
        ("nas.devices:NoSuch()", "NoSuch"),
        ("nas.devices", "MODULE:EXPRESSION"),
        ("nas.devices:OnnxRuntime(threads=0)", "threads=0"),
        ("nas.devices:3", "is no device"),
        ("nas.devices:OnnxRuntime", "is no device"),
    ],
)
def test_what_makes_no_device_is_told(text: str, message: str) -> None:
    with pytest.raises(StudyError, match=message):
        device_of(text)


def test_what_is_profiled_is_the_study_s_latency_on_its_device_or_another() -> None:
    one = sparing_study(Board())
    assert latency_to_profile(one, None, None).device == Board()
    other = latency_to_profile(one, "nas.devices:OnnxRuntime(threads=2)", None)
    assert other.device == OnnxRuntime(threads=2)
    none = tiny_study()
    assert latency_to_profile(none, "nas.devices:OnnxRuntime()", None).device == OnnxRuntime()
    with pytest.raises(StudyError, match="give a --device"):
        latency_to_profile(none, None, None)
    two = dataclasses.replace(
        one, objectives=(Accuracy(), LatencyMs(Board()), LatencyMs(Board("server"), name="server_ms"))
    )
    with pytest.raises(StudyError, match="--objective"):
        latency_to_profile(two, None, None)
    assert latency_to_profile(two, None, "server_ms").device == Board("server")
    with pytest.raises(StudyError, match="no latency 'nosuch'"):
        latency_to_profile(two, None, "nosuch")


def test_a_profile_needs_enough_measurements() -> None:
    study = sparing_study(Board())
    with pytest.raises(StudyError, match="10 or more"):
        profile_device(study, latency_to_profile(study, None, None), 9, print)
