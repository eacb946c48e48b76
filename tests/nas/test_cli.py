from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from command_line import SMALL_STUDY, Command, one_sentence

from nas import cli
from nas.errors import CatalogError

LONG = "x" * 300
"""As a name it is longer than any file system takes."""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "nosuch"], "no study 'nosuch'"),
        (["run", "nosuch.py"], "no file nosuch.py"),
        (["run", SMALL_STUDY, "--sampler", "NoSuchSampler"], "no sampler"),
        (["run", SMALL_STUDY, "--device", "nonsense"], "can't be used"),
        (["run", SMALL_STUDY, "--training-device", "meta"], "can't be used"),
        (["run", SMALL_STUDY, "--out", "runs/\udcff"], "is not UTF-8"),
        (["status", "\udcff"], "is not UTF-8"),
        (["run", SMALL_STUDY, "--evaluations", "0"], "at least 1"),
        (["run", SMALL_STUDY, "--objective", "macs"], "'accuracy' must stay"),
        (["run", SMALL_STUDY, "--constraint", "macs"], "write NAME=VALUE"),
        (["run", SMALL_STUDY, "--constraint", "macs=many"], "write NAME=VALUE"),
        (["run", SMALL_STUDY, "--constraint", "macs=1e6", "--constraint", "macs=2e6"], "limits 'macs' twice"),
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
        (["run", f"{LONG}.py"], "File name too long"),
        (["run", SMALL_STUDY, "--out", LONG], "File name too long"),
        (["status", LONG], "File name too long"),
        (["front", LONG], "File name too long"),
        (["export", LONG, "--to", "x"], "File name too long"),
        (["scale", SMALL_STUDY, "--winner", "x", "--run", LONG], "File name too long"),
        (["profile-device", SMALL_STUDY, "--out", LONG], "name a file"),
        (["profile-device", SMALL_STUDY, "--out", "."], "name a file"),
        (["profile-device", SMALL_STUDY, "--out", "nothing-here/x.json"], "name a file"),
        (["profile-device", SMALL_STUDY, "--out", "/proc/x.json"], "name a file"),
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
