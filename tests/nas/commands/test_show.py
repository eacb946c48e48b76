from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import Command, one_sentence
from fakes import run_in, tiny_study
from filelock import FileLock
from run_folders import copy_run

from nas import Architecture, OptunaSampler
from nas.report.results import Results


def test_a_finished_run_says_so(
    nas_command: Command, capsys: pytest.CaptureFixture[str], cli_run: Path
) -> None:
    capsys.readouterr()
    assert nas_command("status", cli_run) == 0
    text = capsys.readouterr().out
    assert "finished" in text
    assert "12 evaluated, 0 failed" in text
    volume = Results.read(cli_run / "report.json").hypervolume[-1]
    assert f"hypervolume {volume:.4f}" in text
    assert "surrogate, accuracy: tau" in text


def test_a_run_under_way_says_how_far_it_is(
    nas_command: Command, capsys: pytest.CaptureFixture[str], tmp_path: Path, cli_run: Path
) -> None:
    run = copy_run(cli_run, tmp_path / "run")
    state = {
        "stage": "search",
        "total": 20,
        "done": 12,
        "resumed_at": 2,
        "note": "x",
        "began": 0.0,
        "updated": 50.0,
    }
    (run / "status.json").write_text(json.dumps(state))
    capsys.readouterr()
    with FileLock(run / ".lock"):
        assert nas_command("status", run) == 0
    text = capsys.readouterr().out
    assert "search: 12 of 20" in text
    assert "about 40 s left" in text
    assert nas_command("status", run) == 0  # as after kill -9
    text = capsys.readouterr().out
    assert "search: 12 of 20" in text
    assert "stopped, and the same command goes on" in text
    assert "left in this stage" not in text


@pytest.mark.parametrize("content", ["half of it " * 200, "[]", "{}", "null"])
@pytest.mark.parametrize("file", ["status.json", "run.json", "study.db", "trust/trust.json"])
def test_a_damaged_run_is_one_sentence(
    nas_command: Command,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    cli_run: Path,
    file: str,
    content: str,
) -> None:
    run = copy_run(cli_run, tmp_path / "run")
    for leftover in run.glob(f"{file}*"):
        leftover.unlink()
    (run / file).write_text(content)
    capsys.readouterr()
    assert nas_command("status", run) == 2
    assert file in one_sentence(capsys)


def test_the_front_is_a_table_of_its_members(
    nas_command: Command, capsys: pytest.CaptureFixture[str], cli_run: Path
) -> None:
    results = Results.read(cli_run / "report.json")
    capsys.readouterr()
    assert nas_command("front", cli_run) == 0
    text = capsys.readouterr().out
    assert "front of 12 evaluations" in text
    assert all(winner.id in text for winner in results.winners)
    assert "final front" in text
    assert "file bytes" in text


def test_the_models_for_several_devices_are_named(
    nas_command: Command, capsys: pytest.CaptureFixture[str], cli_run: Path
) -> None:
    capsys.readouterr()
    assert nas_command("front", cli_run, "--devices", "--points", "100") == 0
    assert "1 model keeps every device within 100 points of its own best: " in capsys.readouterr().out
    limits = ("--limit", "latency_ms=1e9", "--limit", "macs=1e9")
    assert nas_command("front", cli_run, "--devices", *limits, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [device["objective"] for device in found["devices"]] == ["latency_ms", "macs"]
    assert nas_command("front", cli_run, "--devices", "--limit", "latency_ms=fast") == 2
    assert "--limit is 'latency_ms=fast'" in one_sentence(capsys)
    assert nas_command("front", cli_run, "--limit", "latency_ms=1") == 2
    assert "--limit is for --devices" in one_sentence(capsys)


def test_the_front_is_json_for_programs(
    nas_command: Command, capsys: pytest.CaptureFixture[str], cli_run: Path
) -> None:
    results = Results.read(cli_run / "report.json")
    capsys.readouterr()
    assert nas_command("front", cli_run, "--json") == 0
    members = json.loads(capsys.readouterr().out)
    assert [m["trial"] for m in members] == [results.trial_numbers[row] for row in results.front]
    assert [m["architecture"] for m in members] == [results.ids[row] for row in results.front]
    names = [objective.name for objective in results.objectives]
    for member, row in zip(members, results.front, strict=True):
        assert Architecture(member["choices"]).id == member["architecture"]
        assert member["values"] == pytest.approx(dict(zip(names, results.values[row], strict=True)))


def test_the_front_tells_architectures_in_their_canonical_form(
    nas_command: Command, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run_in(tiny_study(strategy=OptunaSampler("RandomSampler"), evaluations=12), tmp_path / "run")
    capsys.readouterr()
    assert nas_command("front", tmp_path / "run", "--json") == 0
    for member in json.loads(capsys.readouterr().out):
        assert Architecture(member["choices"]).id == member["architecture"]
