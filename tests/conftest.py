from __future__ import annotations

import gc
import os

os.environ["OMP_NUM_THREADS"] = "1"  # equal sums in every process, and no fight over two cores

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
import torch
from fakes import run_in, tiny_study

from nas.cli import main
from nas.data import Digits
from nas.protocols import Splits

torch.set_num_threads(1)
optuna.logging.set_verbosity(optuna.logging.WARNING)

SMALL_STUDY = Path(__file__).parent / "support" / "small_study.py"
Command = Callable[..., int]


def close_databases() -> None:
    """Let go of what earlier runs left open, so that SQLite's side files don't vanish under a copy."""
    gc.collect()


@pytest.fixture(scope="session")
def digits() -> Splits:
    return Digits().load()


@pytest.fixture
def nas_command(monkeypatch: pytest.MonkeyPatch) -> Command:
    """Return what runs ``nas`` with arguments in this process, and gives its exit code."""
    return lambda *arguments: run_command(monkeypatch, *arguments)


def run_command(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["nas", *map(str, arguments)])
    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


@pytest.fixture(scope="session")
def cli_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small study on digits, run by the command line. Not to be changed: copy it."""
    out = tmp_path_factory.mktemp("runs") / "small"
    with pytest.MonkeyPatch.context() as monkeypatch:
        assert run_command(monkeypatch, "run", SMALL_STUDY, "--out", out) == 0
    close_databases()
    return out


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny study, run without interruption. Not to be changed: copy it."""
    out = tmp_path_factory.mktemp("runs") / "tiny"
    run_in(tiny_study(), out)
    close_databases()
    return out


@pytest.fixture
def tiny_copy(tiny_run: Path, tmp_path: Path) -> Path:
    """A copy of the tiny run, to be changed."""
    close_databases()
    return Path(shutil.copytree(tiny_run, tmp_path / "tiny"))
