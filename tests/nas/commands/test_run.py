from __future__ import annotations

import sys
from pathlib import Path

import pytest
from command_line import SMALL_STUDY, Command, one_sentence
from filelock import FileLock

from nas.commands.run import command_line


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
