from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from service_fakes import FINISHED, KnownStudies

import nas
from nas.export.names import VOCABULARY
from nas.report.results import Results
from nas.service.app import create_app
from nas.service.settings import Settings
from nas.service.state import State
from nas.service.store import Run

RUNS = "/api/v1/runs"


def problem(response: Any, status: int, kind: str) -> str:
    """Return the sentence of a problem, which must be one."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    content = response.json()
    assert content["type"] == f"urn:nas:{kind}"
    assert content["status"] == status
    assert content["title"]
    return str(content["detail"])


def test_the_catalogue_says_what_may_be_changed(reader: TestClient) -> None:
    found = {study["name"]: study for study in reader.get("/api/v1/studies").json()}
    assert set(found) == {"tiny", "strict", "broken"}
    tiny = found["tiny"]
    assert tiny["title"] == "The tiny study."
    assert [(o["name"], o["counted"]) for o in tiny["objectives"]] == [
        ("accuracy", False),
        ("num_params", True),
    ]
    assert tiny["defaults"] == {"evaluations": 6, "seed": 0, "device": "cpu"}
    assert {"name": "num_params", "unit": "", "at_most": 1e6} in tiny["constraints"]
    assert found["strict"]["changeable"] == ["seed"]
    assert "no data on this machine" in found["broken"]["error"]


def test_a_study_is_queued_with_its_changes(runner: TestClient) -> None:
    changes = {
        "evaluations": 9,
        "seed": 3,
        "device": "cpu",
        "objectives": ["accuracy"],
        "constraints": {"macs": 5},
    }
    response = runner.post(RUNS, json={"study": "tiny", **changes})
    assert response.status_code == 201
    run = response.json()
    assert run["state"] == "queued"
    assert run["changes"] == changes
    assert run["evaluations"] == {"complete": 0, "failed": 0, "asked": 9}
    assert runner.get(f"{RUNS}/{run['id']}").json() == run


@pytest.mark.parametrize(
    ("devices", "strict", "error"),
    [
        ("cuda:0,cpu", "cpu", None),
        ("cuda:0,ray:auto", "ray:auto", None),
        ("cuda:0,cuda@ray:auto", None, "trains on cpu alone"),
        ("cuda:0", None, "trains on cpu alone"),
    ],
)
def test_a_study_that_may_not_move_trains_on_the_cpu(
    settings: Settings, studies_of_tests: None, devices: str, strict: str | None, error: str | None
) -> None:
    app = create_app(settings.model_copy(update={"devices": tuple(devices.split(","))}))
    service: State = app.state.service
    service.studies = KnownStudies()
    runner = TestClient(app, headers={"Authorization": f"Bearer {service.tokens.create('ann', 'run')[1]}"})
    assert runner.post(RUNS, json={"study": "tiny"}).json()["device"] == "cuda:0"
    answer = runner.post(RUNS, json={"study": "strict"})
    if error is None:
        assert answer.json()["device"] == strict
    else:
        assert error in problem(answer, 409, "broken-study")
    service.close()


@pytest.mark.parametrize(
    ("asked", "status", "kind"),
    [
        ({"study": "nosuch"}, 404, "unknown-study"),
        ({"study": "broken"}, 409, "broken-study"),
        ({"study": "strict", "evaluations": 5}, 422, "not-valid"),
        ({"study": "tiny", "evaluations": 0}, 422, "not-valid"),
        ({"study": "tiny", "evaluations": "6"}, 422, "not-valid"),
        ({"study": "tiny", "evaluations": True}, 422, "not-valid"),
        ({"study": "tiny", "seed": -1}, 422, "not-valid"),
        ({"study": "tiny", "device": "cuda:7"}, 422, "not-valid"),
        ({"study": "tiny", "objectives": ["num_params"]}, 422, "not-valid"),
        ({"study": "tiny", "objectives": ["accuracy", "nosuch"]}, 422, "not-valid"),
        ({"study": "tiny", "objectives": ["accuracy", "accuracy"]}, 422, "not-valid"),
        ({"study": "tiny", "constraints": {"accuracy": 1}}, 422, "not-valid"),
        ({"study": "tiny", "surprise": 1}, 422, "not-valid"),
        ({}, 422, "not-valid"),
    ],
)
def test_a_study_that_cant_be_started(
    runner: TestClient, asked: dict[str, Any], status: int, kind: str
) -> None:
    problem(runner.post(RUNS, json=asked), status, kind)
    assert runner.get(RUNS).json()["runs"] == []


def test_runs_are_paged_newest_first(runner: TestClient) -> None:
    started = [runner.post(RUNS, json={"study": "tiny", "seed": n}).json()["id"] for n in range(5)]
    seen: list[str] = []
    cursor: int | None = None
    while True:
        page = runner.get(RUNS, params={"limit": 2} | ({} if cursor is None else {"cursor": cursor})).json()
        seen += [run["id"] for run in page["runs"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == started[::-1]


def test_a_token_has_so_many_unfinished_studies(app: FastAPI, service: State, runner: TestClient) -> None:
    for _ in range(service.settings.max_unfinished):
        assert runner.post(RUNS, json={"study": "tiny"}).status_code == 201
    response = runner.post(RUNS, json={"study": "tiny"})
    assert "may have 10" in problem(response, 429, "limit-reached")
    assert response.json()["used"] == response.json()["limit"] == 10
    other = service.tokens.create("other", "run")[1]
    elsewhere = TestClient(app, headers={"Authorization": f"Bearer {other}"})
    assert elsewhere.post(RUNS, json={"study": "tiny"}).status_code == 201
    first = runner.get(RUNS, params={"limit": 100}).json()["runs"][-1]["id"]
    assert runner.post(f"{RUNS}/{first}/cancel").json()["state"] == "cancelled"
    assert runner.post(RUNS, json={"study": "tiny"}).status_code == 201


def test_a_token_has_so_many_evaluations(runner: TestClient) -> None:
    assert runner.post(RUNS, json={"study": "tiny", "evaluations": 19_999}).status_code == 201
    response = runner.post(RUNS, json={"study": "tiny", "evaluations": 2})
    assert "19999 evaluations, 2 more" in problem(response, 429, "limit-reached")


def test_pause_resume_cancel(runner: TestClient) -> None:
    address = f"{RUNS}/{runner.post(RUNS, json={'study': 'tiny'}).json()['id']}"
    assert runner.post(f"{address}/pause").json()["state"] == "paused"
    assert runner.post(f"{address}/resume").json()["state"] == "queued"
    assert runner.post(f"{address}/cancel").json()["state"] == "cancelled"
    assert "is cancelled" in problem(runner.post(f"{address}/resume"), 409, "wrong-state")
    problem(runner.post(f"{address}/explode"), 404, "not-found")


def test_a_finished_run(reader: TestClient, finished_run: Run, service: State) -> None:
    results = Results.read(service.settings.runs / FINISHED / "report.json")
    run = reader.get(f"{RUNS}/{FINISHED}").json()
    assert run["state"] == "finished"
    assert run["stage"] == "done"
    assert run["evaluations"] == {"complete": 6, "failed": 0, "asked": 6}
    assert run["has_winners"]
    page = reader.get(f"{RUNS}/{FINISHED}/trials", params={"limit": 4}).json()
    assert (len(page["trials"]), page["next"], page["position"]) == (4, 4, 4)
    rest = reader.get(f"{RUNS}/{FINISHED}/trials", params={"cursor": 4}).json()
    assert (len(rest["trials"]), rest["next"], rest["position"]) == (2, None, 6)
    trials = page["trials"] + rest["trials"]
    assert [t["architecture"] for t in trials] == results.ids
    assert [[v["value"] for v in t["values"].values()] for t in trials] == results.values
    front = reader.get(f"{RUNS}/{FINISHED}/front").json()
    assert front["trials"] == [t for t in trials if t["on_front"]]
    assert front["numbers"] == [trials[row]["number"] for row in results.front]
    assert reader.get(f"{RUNS}/{FINISHED}/hypervolume").json() == {"hypervolume": results.hypervolume}
    log = reader.get(f"{RUNS}/{FINISHED}/log", params={"lines": 2}).json()
    assert log == {"lines": ["second line", "last line"]}


def test_a_study_may_be_named_as_any_file_may(runner: TestClient, service: State) -> None:
    for study in ("my-study", "my study", "größe", "x" * 100):
        run = service.supervisor.submit(study, {}, evaluations=6, device="cpu", token_id="ann")
        assert runner.get(f"/api/v1/runs/{run.id}").json()["study"] == study
        assert runner.post(f"/api/v1/runs/{run.id}/cancel").json()["state"] == "cancelled"


@pytest.mark.parametrize("name", ["report.json", "run.json"])
def test_a_damaged_run_hides_no_other(
    runner: TestClient, finished_run: Run, service: State, name: str
) -> None:
    other = service.supervisor.submit("tiny", {}, evaluations=6, device="cpu", token_id="ann")
    (service.settings.runs / FINISHED / name).write_text("{")
    shown = runner.get("/api/v1/runs").json()["runs"]
    assert [run["id"] for run in shown] == [other.id, FINISHED]
    assert [name in (run["fault"] or "") for run in shown] == [False, True]
    assert str(service.settings.runs) not in shown[1]["fault"]
    page = runner.get("/runs", headers={"Accept": "text/html"})
    assert page.status_code == 200
    assert f"{FINISHED}/{name} is damaged" in page.text
    assert runner.get("/compare", headers={"Accept": "text/html"}).status_code == 200
    assert runner.get(f"/api/v1/runs/{FINISHED}/front").status_code == 409


def test_a_run_that_hasnt_begun_is_empty(runner: TestClient) -> None:
    address = f"{RUNS}/{runner.post(RUNS, json={'study': 'tiny'}).json()['id']}"
    assert runner.get(f"{address}/trials").json()["trials"] == []
    assert runner.get(f"{address}/front").json()["trials"] == []
    assert runner.get(f"{address}/hypervolume").json() == {"hypervolume": []}
    assert runner.get(f"{address}/log").json() == {"lines": []}
    assert runner.get(f"{address}/winners").json() == {"winners": [], "original": []}
    problem(runner.get(f"{address}/pareto.zip"), 404, "no-winners")


def test_winners_and_their_files(reader: TestClient, finished_run: Run, service: State) -> None:
    winners = reader.get(f"{RUNS}/{FINISHED}/winners").json()["winners"]
    assert len(winners) == 2
    address = f"{RUNS}/{FINISHED}/winners/{winners[0]['id']}"
    winner = reader.get(address).json()
    assert winner["card"].startswith("---\n")
    names = [f["name"] for f in winner["files"]]
    assert names == [
        *("README.md", "front.png", "confusion.png"),
        *("architecture.json", "model.safetensors", "model.onnx"),
    ]
    folder = service.settings.runs / FINISHED / "winners" / winners[0]["id"]
    for name in names:
        answer = reader.get(f"{address}/files/{name}")
        assert answer.content == (folder / name).read_bytes()
        assert "content-encoding" not in answer.headers  # weights don't shrink
    problem(reader.get(f"{address}/files/finished.json"), 404, "unknown-file")


def test_a_zip_holds_a_model_that_loads(reader: TestClient, finished_run: Run, tmp_path: Any) -> None:
    winner = reader.get(f"{RUNS}/{FINISHED}/winners").json()["winners"][0]["id"]
    answer = reader.get(f"{RUNS}/{FINISHED}/winners/{winner}/zip")
    assert answer.headers["content-disposition"] == f'attachment; filename="{FINISHED}-{winner}.zip"'
    assert int(answer.headers["content-length"]) == len(
        answer.content
    )  # so that a browser shows how much is left
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        archive.extractall(tmp_path)
    from fakes import tiny_network

    assert nas.load(tmp_path / winner, network=tiny_network) is not None


def test_a_winner_that_reads_texts_comes_with_its_words(
    reader: TestClient, finished_run: Run, service: State
) -> None:
    winner = reader.get(f"{RUNS}/{FINISHED}/winners").json()["winners"][0]["id"]
    (service.settings.runs / FINISHED / "winners" / winner / VOCABULARY).write_text('["", "word"]')
    answer = reader.get(f"{RUNS}/{FINISHED}/winners/{winner}/zip")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.read(f"{winner}/{VOCABULARY}") == b'["", "word"]'


def test_no_damaged_file_is_sent(reader: TestClient, finished_run: Run, service: State) -> None:
    winner = reader.get(f"{RUNS}/{FINISHED}/winners").json()["winners"][0]["id"]
    path = service.settings.runs / FINISHED / "winners" / winner / "model.onnx"
    path.write_bytes(path.read_bytes()[:-1] + b"~")
    for address in (f"winners/{winner}/files/model.onnx", f"winners/{winner}/zip"):
        answer = reader.get(f"{RUNS}/{FINISHED}/{address}")
        problem(answer, 409, "not-possible")
        assert "model.onnx doesn't match its digest" in answer.json()["detail"]
    assert reader.get(f"{RUNS}/{FINISHED}/winners/{winner}/files/README.md").status_code == 200


def test_the_pareto_set_as_a_zip(reader: TestClient, finished_run: Run) -> None:
    answer = reader.get(f"{RUNS}/{FINISHED}/pareto.zip")
    winners = reader.get(f"{RUNS}/{FINISHED}/winners").json()["winners"]
    members = {w["id"] for w in winners if any(v["on_front"] for v in w["variants"])}
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert {name.partition("/")[0] for name in archive.namelist()} == members | {"README.md"}


def test_signing_in_and_out(anyone: TestClient, run_token: str) -> None:
    made = anyone.post("/api/v1/session", json={"token": run_token})
    cookie = made.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Secure" not in cookie  # it is plain HTTP
    assert run_token not in cookie
    assert anyone.get("/api/v1/session").json() == made.json()
    assert anyone.post(RUNS, json={"study": "tiny"}).status_code == 201
    kept = dict(anyone.cookies)
    assert anyone.delete("/api/v1/session").status_code == 204
    anyone.cookies.update(kept)
    problem(anyone.get(RUNS), 401, "not-signed-in")


def test_the_cookie_is_for_https_alone_where_there_is_https(app: FastAPI, run_token: str) -> None:
    client = TestClient(app, base_url="https://testserver")
    assert "Secure" in client.post("/api/v1/session", json={"token": run_token}).headers["set-cookie"]


def test_everything_carries_the_security_headers(anyone: TestClient) -> None:
    for path in ("/docs", "/nothing", RUNS, "/api/v1/openapi.json"):
        headers = anyone.get(path).headers
        assert "script-src 'self'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"


def test_the_reference_names_every_operation(anyone: TestClient) -> None:
    page = anyone.get("/docs").text
    for path, methods in anyone.get("/api/v1/openapi.json").json()["paths"].items():
        for method in methods:
            assert f"<code>{method.upper()} {path}</code>" in page


def test_every_route_of_the_api_documents_its_problems(anyone: TestClient) -> None:
    described = anyone.get("/api/v1/openapi.json").json()
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            assert "401" in operation["responses"], (method, path)
            content = operation["responses"]["422"]["content"]
            assert "application/problem+json" in content, (method, path)
    assert "ProblemDetails" in described["components"]["schemas"]


def test_undecodable_bodies_are_problems(runner: TestClient) -> None:
    headers = {"Content-Type": "application/json"}
    problem(runner.post(RUNS, content=b"\xff\xfe\x00", headers=headers), 400, "unreadable-request")
    problem(runner.post(RUNS, content=b"{", headers=headers), 422, "not-valid")
    deep = b"[" * 20_000 + b"]" * 20_000
    assert runner.post(RUNS, content=deep, headers=headers).status_code in (400, 422)
    lone = json.dumps({"study": "\ud800"}).encode()
    problem(runner.post(RUNS, content=lone, headers=headers), 422, "not-valid")
    lone = json.dumps({"study": "tiny", "constraints": {"\ud800": 1}}).encode()
    problem(runner.post(RUNS, content=lone, headers=headers), 422, "not-valid")


def test_unknown_addresses_and_methods_are_problems(runner: TestClient) -> None:
    problem(runner.get("/api/v1/nothing"), 404, "not-found")
    problem(runner.get(f"{RUNS}/tiny-ffffffff"), 404, "unknown-run")
    answer = runner.put(RUNS)
    problem(answer, 405, "method-not-allowed")
    assert answer.headers["allow"]
