from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from run_folders import copy_run
from service_fakes import FINISHED, KnownStudies

from nas.service.app import create_app
from nas.service.settings import Settings
from nas.service.state import State
from nas.service.store import Run, Store

SUPPORT = Path(__file__).parents[2] / "support"


@pytest.fixture
def studies_of_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAS_STUDIES", "service_studies")
    monkeypatch.setenv("PYTHONPATH", str(SUPPORT), prepend=":")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(f"sqlite:///{tmp_path / 'service.db'}")
    yield made
    made.close()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(folder=tmp_path / "service", refresh_s=0.01, keep_alive_s=0.05)


@pytest.fixture
def app(settings: Settings, studies_of_tests: None) -> Iterator[FastAPI]:
    """The application; nothing is supervised unless its lifespan begins."""
    made = create_app(settings)
    made.state.service.studies = KnownStudies()
    yield made
    made.state.service.close()


@pytest.fixture
def service(app: FastAPI) -> State:
    state: State = app.state.service
    return state


@pytest.fixture
def run_token(service: State) -> str:
    return service.tokens.create("runner", "run")[1]


@pytest.fixture
def read_token(service: State) -> str:
    return service.tokens.create("reader", "read")[1]


@pytest.fixture
def anyone(app: FastAPI) -> TestClient:
    """A client without a token."""
    return TestClient(app)


@pytest.fixture
def runner(app: FastAPI, run_token: str) -> TestClient:
    return TestClient(app, headers={"Authorization": f"Bearer {run_token}"})


@pytest.fixture
def reader(app: FastAPI, read_token: str) -> TestClient:
    return TestClient(app, headers={"Authorization": f"Bearer {read_token}"})


@pytest.fixture
def finished_run(service: State, tiny_run: Path) -> Run:
    """The tiny study's run, as one of the service."""
    copy_run(tiny_run, service.settings.runs / FINISHED)
    (service.settings.runs / FINISHED / "log.txt").write_text("first line\nsecond line\nlast line\n")
    return service.store.add_run(
        Run(FINISHED, "tiny", {"seed": 0}, 6, "cpu", "nobody", "finished", 1.0, started=2.0, finished=3.0)
    )
