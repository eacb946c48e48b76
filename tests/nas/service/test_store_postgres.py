"""The service's tables, and trials of its runs, on a PostgreSQL server."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from fakes import grid_evaluate, grid_problem
from fastapi.testclient import TestClient
from optuna.storages import RDBStorage

from nas.errors import ServiceError
from nas.files import write_json
from nas.runner.directory import RunDirectory
from nas.search.loop import search
from nas.service.app import create_app
from nas.service.record import Record
from nas.service.runs import RunView
from nas.service.serving import _only_user
from nas.service.settings import Settings
from nas.service.store import Store
from nas.service.tokens import Tokens


def test_tokens_and_queue_are_the_same_there(
    postgres_url: str, tmp_path: Path, studies_of_tests: None
) -> None:
    app = create_app(Settings(folder=tmp_path, storage=postgres_url))
    service = app.state.service
    token, text = Tokens(service.store).create("ann", "run")
    client = TestClient(app, headers={"Authorization": f"Bearer {text}"})
    run = client.post("/api/v1/runs", json={"study": "tiny", "constraints": {"macs": 1e6}}).json()
    assert client.get("/api/v1/runs").json()["runs"] == [run]
    assert client.post(f"/api/v1/runs/{run['id']}/pause").json()["state"] == "paused"
    assert client.get("/api/v1/runs/tiny%00-00000000").status_code == 404
    service.tokens.revoke(token.id)
    assert client.get("/api/v1/runs").status_code == 401
    service.close()


def test_a_second_service_on_the_database_says_so(postgres_url: str) -> None:
    one, other = Store(postgres_url), Store(postgres_url)
    with (
        _only_user(one.engine),
        pytest.raises(ServiceError, match="another service"),
        _only_user(other.engine),
    ):
        pass
    with _only_user(other.engine):
        pass
    one.close()
    other.close()


def test_trials_on_a_server_are_read_and_never_written(postgres_url: str, tmp_path: Path) -> None:
    problem = grid_problem()
    directory = RunDirectory(tmp_path)
    values = [vars(o) for o in problem.objectives]
    described = {"study": "grid", "space": problem.space.describe(), "values": values}
    write_json(directory.manifest, described)
    write_json(tmp_path / "storage.json", {"url": "postgresql+psycopg://elsewhere/x", "run": "1234abcd"})
    view = RunView(tmp_path, postgres_url)
    assert view.snapshot(0.0).rows == ()
    storage = RDBStorage(postgres_url)
    study = optuna.create_study(
        storage=storage,
        study_name="grid-1234abcd",
        sampler=optuna.samplers.RandomSampler(seed=0),
        directions=[o.direction for o in problem.objectives],
    )
    for evaluations in (3, 12):
        search(
            study,
            problem,
            lambda a: grid_evaluate(problem, a),
            evaluations=evaluations,
            on_trial=lambda _: None,
        )
        snapshot = view.snapshot(0.0)
        assert len(snapshot.rows) == evaluations
    assert len(snapshot.hypervolume) == 12
    assert view.snapshot(0.0) is snapshot
    record = Record(RunDirectory(tmp_path, postgres_url))
    record.refresh()
    assert record._study is not None
    with pytest.raises(optuna.exceptions.StorageInternalError) as refused:
        record._study.set_user_attr("broken", True)
    assert "read-only" in str(refused.value.__cause__)
    storage.remove_session()
    storage.engine.dispose()
