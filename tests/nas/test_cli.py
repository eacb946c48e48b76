from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from fakes import run_in, tiny_study
from filelock import FileLock

import nas
from nas import Architecture, OptunaSampler, cli
from nas.commands.run import command_line
from nas.commands.workers import executor_of
from nas.errors import CatalogError
from nas.report.results import Results

Command = Callable[..., int]
HERE = Path(__file__).parent
SMALL_STUDY = HERE.parent / "support" / "small_study.py"


def one_sentence(capsys: pytest.CaptureFixture[str]) -> str:
    """Return the one line on stderr; nothing else may be there."""
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert len(lines) == 1, captured.err
    assert lines[0].startswith("nas: ")
    assert "Traceback" not in captured.out
    return lines[0]


@pytest.fixture
def no_run(tmp_path: Path) -> Path:
    return tmp_path / "nothing"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "nosuch"], "no study 'nosuch'"),
        (["run", "nosuch.py"], "no file nosuch.py"),
        (["run", SMALL_STUDY, "--sampler", "NoSuchSampler"], "no sampler"),
        (["run", SMALL_STUDY, "--device", "nonsense"], "can't be used"),
        (["run", SMALL_STUDY, "--device", "meta"], "can't be used"),
        (["run", SMALL_STUDY, "--out", "runs/\udcff"], "is not UTF-8"),
        (["status", "\udcff"], "is not UTF-8"),
        (["run", SMALL_STUDY, "--evaluations", "0"], "at least 1"),
        (["run", SMALL_STUDY, "--objective", "macs"], "'accuracy' must stay"),
        (["run", SMALL_STUDY, "--constraint", "macs"], "write NAME=VALUE"),
        (["run", SMALL_STUDY, "--constraint", "macs=many"], "write NAME=VALUE"),
        (["run", SMALL_STUDY, "--constraint", "macs=nan"], "at most nan: give a finite number"),
        (["run", "digits", "--server", "http://x", "--out", "y"], "--out is for runs of this machine"),
        (["status", "digits", "--server", "http://127.0.0.1:1"], "NAS_TOKEN"),
        (["run", SMALL_STUDY, "--out", "/proc/nothing/here"], "can't be written"),
        (["run", SMALL_STUDY, "--minutes", "0"], "more than 0"),
        (["run", SMALL_STUDY, "--plateau", "2"], "between 0 and 1"),
        (["run", SMALL_STUDY, "--warm-start", "nothing.json"], "can't be read from nothing.json"),
        (["run", SMALL_STUDY, "--storage", "nonsense"], "is expected"),
        (["run", SMALL_STUDY, "--ranks", "2"], "--ranks is for a cluster"),
        (["run", SMALL_STUDY, "--ray", "127.0.0.1:1"], "no Ray cluster listens at 127.0.0.1:1"),
        (["status", "nothing-here"], "no run directory"),
        (["front", "nothing-here"], "no run directory"),
        (["front", "digits", "--server", "http://x", "--devices"], "--devices is for runs of this machine"),
        (["export", "nothing-here", "--to", "x"], "no run directory"),
    ],
)
def test_an_error_is_exit_code_2_and_one_sentence(
    nas_command: Command,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert nas_command(*arguments) == 2
    assert message in one_sentence(capsys)


@pytest.mark.parametrize(
    ("device", "visible", "gpus"),
    [
        ("cuda", None, ("0", "1", "2")),
        ("cuda", "3,GPU-7", ("3", "GPU-7")),
        ("cuda:1", None, ()),
        ("cpu", None, ()),
    ],
)
def test_jobs_share_the_gpus(
    monkeypatch: pytest.MonkeyPatch, device: str, visible: str | None, gpus: tuple[str, ...]
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    made = executor_of(8, None, torch.device(device))
    assert isinstance(made, partial)
    assert made.keywords == {"jobs": 8, "gpus": gpus}


@pytest.mark.parametrize(
    "content", ["def study(:\n", "raise RuntimeError('first\\nsecond')\n", "def study():\n    return 1 / 0\n"]
)
def test_a_broken_study_file_is_one_sentence(
    nas_command: Command, capsys: pytest.CaptureFixture[str], tmp_path: Path, content: str
) -> None:
    (tmp_path / "broken_study.py").write_text(content)
    assert nas_command("run", tmp_path / "broken_study.py", "--out", tmp_path / "run") == 2
    assert "broken_study" in one_sentence(capsys)


def test_a_changed_seed_is_one_sentence(
    nas_command: Command, capsys: pytest.CaptureFixture[str], cli_run: Path
) -> None:
    capsys.readouterr()
    assert nas_command("run", SMALL_STUDY, "--out", cli_run, "--seed", 5) == 2
    assert "seed was 0 and is now 5" in one_sentence(capsys)


@pytest.mark.parametrize("seed", [-1, 2**32, 10**23])
def test_a_seed_out_of_range_is_one_sentence(
    nas_command: Command, capsys: pytest.CaptureFixture[str], tmp_path: Path, seed: int
) -> None:
    assert nas_command("run", SMALL_STUDY, "--out", tmp_path / "run", f"--seed={seed}") == 2
    assert f"the seed {seed}" in one_sentence(capsys)
    assert not (tmp_path / "run").exists()


def test_another_sampler_is_another_study(
    nas_command: Command, capsys: pytest.CaptureFixture[str], cli_run: Path
) -> None:
    capsys.readouterr()
    assert nas_command("run", SMALL_STUDY, "--out", cli_run, "--sampler", "NSGAIISampler") == 2
    assert "strategy was" in one_sentence(capsys)


def test_a_second_run_in_one_directory_is_one_sentence(
    nas_command: Command, capsys: pytest.CaptureFixture[str], cli_run: Path
) -> None:
    capsys.readouterr()
    with FileLock(cli_run / ".lock"):
        assert nas_command("run", SMALL_STUDY, "--out", cli_run) == 2
    assert "another process is running" in one_sentence(capsys)


def test_an_error_of_a_real_process_is_one_line_and_nothing_else() -> None:
    command = [sys.executable, "-m", "nas", "run", "nosuch"]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 2
    assert process.stdout == ""
    assert len(process.stderr.splitlines()) == 1
    assert process.stderr.startswith("nas: there is no study 'nosuch'")


@pytest.mark.parametrize("argument", ["--version", "--help", "studies"])
@pytest.mark.parametrize("full", [True, False])
def test_an_output_that_can_not_be_written_is_no_traceback(
    capfd: pytest.CaptureFixture[str], argument: str, full: bool
) -> None:
    code = run_with_output([argument], "/dev/full" if full else None)
    said = capfd.readouterr().err.splitlines()
    assert code == (2 if full else 141)
    assert len(said) == full
    assert all("can't be written (No space left on device)" in line for line in said)


def run_with_output(arguments: list[str], to: str | None) -> int:
    """Run ``nas`` in a copy of this process whose output goes to a file, or to a pipe that nobody reads."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 99
    try:
        if to is None:
            ends = os.pipe()
            os.close(ends[0])
        os.dup2(os.open(to, os.O_WRONLY) if to else ends[1], 1)
        sys.stdout = os.fdopen(1, "w", closefd=False)
        sys.argv = ["nas", *arguments]
        cli.main()
    except SystemExit as stop:
        code = int(stop.code or 0)
    finally:
        sys.stderr.flush()
        os._exit(code)


def test_verbose_shows_the_traceback(nas_command: Command) -> None:
    with pytest.raises(CatalogError):
        nas_command("run", "nosuch", "--verbose")


@pytest.mark.parametrize(
    "arguments", [["run"], ["nosuchcommand"], ["run", "digits", "--nosuch"], ["run", "digits", "--seed", "x"]]
)
def test_wrong_usage_is_no_traceback(
    nas_command: Command, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert nas_command(*arguments) == 2
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err + captured.out
    assert captured.err


def test_help_names_the_commands(nas_command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert nas_command("--help") == 0
    text = capsys.readouterr().out
    assert all(name in text for name in ("run", "status", "front", "export", "studies"))


def test_the_version_is_shown(nas_command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert nas_command("--version") == 0
    assert capsys.readouterr().out == f"nas {version('nas')}\n"


def test_studies_are_listed(nas_command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert nas_command("studies") == 0
    assert "digits" in capsys.readouterr().out.split()


def test_packages_in_the_current_folder_are_found(
    nas_command: Command, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    package = tmp_path / "studies_of_mine"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "first.py").touch()
    monkeypatch.setenv("NAS_STUDIES", "studies_of_mine")
    monkeypatch.chdir(tmp_path)
    assert nas_command("studies") == 0
    assert capsys.readouterr().out.split() == ["first"]


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
    run = Path(shutil.copytree(cli_run, tmp_path / "run"))
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
    run = Path(shutil.copytree(cli_run, tmp_path / "run"))
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


def test_exported_models_load_and_stand_alone(
    nas_command: Command, capsys: pytest.CaptureFixture[str], tmp_path: Path, cli_run: Path
) -> None:
    out = tmp_path / "released" / "models"
    assert nas_command("export", cli_run, "--to", out, "--all") == 0
    assert "2 models" in capsys.readouterr().out
    results = Results.read(cli_run / "report.json")
    assert {p.name for p in out.iterdir()} == {"README.md", *(w.id for w in results.winners)}
    for winner in results.winners:
        nas.load(out / winner.id)
        assert not list((out / winner.id).glob("finished*"))
    assert not list(out.parent.glob(".*"))


def test_by_default_the_final_front_alone_is_exported(
    nas_command: Command, tmp_path: Path, cli_run: Path
) -> None:
    out = tmp_path / "models"
    assert nas_command("export", cli_run, "--to", out) == 0
    results = Results.read(cli_run / "report.json")
    kept = {w.id for w in results.winners if any(v.on_front for v in w.variants)}
    assert {p.name for p in out.iterdir() if p.is_dir()} == kept
    card = (out / "README.md").read_text()
    assert all(id_ in card for id_ in kept)


def test_exporting_over_something_is_one_sentence(
    nas_command: Command, capsys: pytest.CaptureFixture[str], tmp_path: Path, cli_run: Path
) -> None:
    capsys.readouterr()
    assert nas_command("export", cli_run, "--to", tmp_path) == 2
    assert "exists already" in one_sentence(capsys)


def test_exporting_to_a_place_that_can_not_be_written_is_one_sentence(
    nas_command: Command, capsys: pytest.CaptureFixture[str], tmp_path: Path, cli_run: Path
) -> None:
    (tmp_path / "file").touch()
    capsys.readouterr()
    assert nas_command("export", cli_run, "--to", tmp_path / "file" / "models") == 2
    one_sentence(capsys)


def test_exporting_before_the_end_is_one_sentence(
    nas_command: Command, capsys: pytest.CaptureFixture[str], tmp_path: Path, cli_run: Path
) -> None:
    run = Path(shutil.copytree(cli_run, tmp_path / "run"))
    (run / "report.json").unlink()
    capsys.readouterr()
    assert nas_command("export", run, "--to", tmp_path / "models") == 2
    assert "no finished winners" in one_sentence(capsys)


def test_exporting_a_winner_that_lost_its_folder_is_one_sentence(
    nas_command: Command, capsys: pytest.CaptureFixture[str], tmp_path: Path, cli_run: Path
) -> None:
    run = Path(shutil.copytree(cli_run, tmp_path / "run"))
    shutil.rmtree(run / "winners")
    capsys.readouterr()
    assert nas_command("export", run, "--to", tmp_path / "models") == 2
    one_sentence(capsys)


@pytest.mark.parametrize("name", ["model.onnx", "model.int8.onnx", "README.md", "architecture.json"])
def test_no_damaged_file_is_exported(
    nas_command: Command, capsys: pytest.CaptureFixture[str], tmp_path: Path, cli_run: Path, name: str
) -> None:
    run = Path(shutil.copytree(cli_run, tmp_path / "run"))
    path = sorted(run.glob(f"winners/*/{name}"))[0]
    path.write_bytes(path.read_bytes()[:-1] + b"~")
    capsys.readouterr()
    assert nas_command("export", run, "--to", tmp_path / "models", "--all") == 2
    assert f"{path.parent.name}/{name} doesn't match its digest: run the study" in one_sentence(capsys)
    assert not (tmp_path / "models").exists()


def test_ctrl_c_says_that_the_same_command_goes_on(
    nas_command: Command, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("nas.runner.run", interrupted)
    assert nas_command("run", SMALL_STUDY, "--out", tmp_path / "run") == 130
    captured = capsys.readouterr()
    assert "the same command goes on" in captured.err
    assert "Traceback" not in captured.err


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (["run", "my study.py", "--out", "/srv/nas/runs/digits-3"], "nas run 'my study.py' --out digits-3"),
        (["run", "digits", "--out=/srv/my runs/d", "--seed=3"], "nas run digits --out=d --seed=3"),
        (["run", "digits", "--out", "runs/mine"], "nas run digits --out runs/mine"),
    ],
)
def test_cards_tell_a_command_that_can_be_typed(
    monkeypatch: pytest.MonkeyPatch, typed: list[str], told: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["nas", *typed])
    assert command_line(None) == told
