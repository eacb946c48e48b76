from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from boards import Board, latencies_of, sparing_study
from fakes import edit_json, run_in, tiny_study

from nas import Accuracy, LatencyMs
from nas.devices import OnnxRuntime
from nas.devices.latency_profile import LatencyProfile
from nas.errors import DamagedFileError, StudyError
from nas.runner.device_profile import device_of, latency_to_profile, profile_device


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
