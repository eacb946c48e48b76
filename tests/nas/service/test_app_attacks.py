"""What must be refused, and leave no secret behind."""

from __future__ import annotations

import asyncio
import io
import logging
import zipfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from fakes import edit_json
from fastapi import FastAPI
from fastapi.testclient import TestClient
from service_fakes import FINISHED, sign_in
from starlette.types import Message

from nas.files import read_json
from nas.service.access import COOKIE
from nas.service.app import create_app
from nas.service.settings import Settings
from nas.service.state import State
from nas.service.store import Run

RUNS = "/api/v1/runs"
TRAVERSALS = [
    "..",
    "../..",
    "..%2f..%2fservice.db",
    "%2e%2e%2f%2e%2e%2fservice.db",
    "..%5c..%5cservice.db",
    "....//....//service.db",
    "/etc/passwd",
    "%2fetc%2fpasswd",
    "..%00",
    f"{FINISHED}%00.zip",
    f"{FINISHED}/../../service.db",
    "%c0%ae%c0%ae/service.db",
]


@pytest.fixture(autouse=True)
def no_secret_is_logged(caplog: pytest.LogCaptureFixture, run_token: str, read_token: str) -> Iterator[None]:
    caplog.set_level(logging.DEBUG)
    yield
    for text in (run_token, read_token):
        secret = text.split("_", 2)[2]
        assert secret not in caplog.text


def as_sent(client: TestClient, address: str) -> tuple[int, bytes]:
    """Send an address as it is, which clients would tidy up first, and return status and body."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": unquote(address, errors="replace"),
        "raw_path": address.encode(),
        "query_string": b"",
        "headers": [(b"authorization", client.headers["authorization"].encode())],
        "client": ("testclient", 1),
        "server": ("testserver", 80),
        "scheme": "http",
        "http_version": "1.1",
        "root_path": "",
    }
    asyncio.run(client.app(scope, receive, send))  # type: ignore[arg-type]
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


@pytest.mark.parametrize("name", TRAVERSALS)
def test_no_address_leads_out_of_the_runs(runner: TestClient, finished_run: Run, name: str) -> None:
    winner = runner.get(f"{RUNS}/{FINISHED}/winners").json()["winners"][0]["id"]
    for address in (
        f"{RUNS}/{name}",
        f"{RUNS}/{name}/pareto.zip",
        f"{RUNS}/{FINISHED}/winners/{name}",
        f"{RUNS}/{FINISHED}/winners/{name}/zip",
        f"{RUNS}/{FINISHED}/winners/{winner}/files/{name}",
    ):
        status, content = as_sent(runner, address)
        assert status == 404, address
        assert b"root:" not in content
        assert b"SQLite" not in content


@pytest.mark.parametrize(
    "name",
    [
        "/tmp/evil.py",
        "../evil.py",
        "evil.py",
        "os",
        "os.path",
        "tiny.py",
        "service_studies.tiny",
        "tiny;ls",
        "",
    ],
)
def test_only_names_of_the_catalogue_are_studies(runner: TestClient, name: str) -> None:
    answer = runner.post(RUNS, json={"study": name})
    assert answer.status_code == 404
    assert runner.get(RUNS).json()["runs"] == []


@pytest.mark.parametrize(
    "changes",
    [
        {"device": "cpu --out /tmp/x"},
        {"device": "--help"},
        {"objectives": ["--out=/tmp/x"]},
        {"constraints": {"macs=1 --out": 1}},
        {"out": "/tmp/x"},
        {"sampler": "RandomSampler"},
    ],
)
def test_nothing_of_a_request_becomes_an_option(runner: TestClient, changes: dict[str, object]) -> None:
    assert runner.post(RUNS, json={"study": "tiny", **changes}).status_code == 422


def test_a_body_that_is_too_large(runner: TestClient, service: State) -> None:
    large = b'{"study": "' + b"x" * service.settings.max_body_bytes + b'"}'
    headers = {"Content-Type": "application/json"}
    assert runner.post(RUNS, content=large, headers=headers).status_code == 413

    def in_pieces() -> Iterator[bytes]:  # no Content-Length to look at
        for start in range(0, len(large), 1000):
            yield large[start : start + 1000]

    answer = runner.post(RUNS, content=in_pieces(), headers=headers)
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"


def test_an_address_that_is_too_long(runner: TestClient) -> None:
    answer = runner.get(RUNS, params={"x": "y" * 5000})
    assert answer.status_code == 414
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "header",
    [
        "Bearer",
        "Bearer ",
        "Bearer nas_000000000000_" + "A" * 43,
        "Bearer nas_' OR 1=1 --",
        "Basic YWRtaW46YWRtaW4=",
        "bearer\tx",
        "Bearer " + "A" * 3000,
    ],
)
def test_a_wrong_token_is_refused(anyone: TestClient, header: str) -> None:
    answer = anyone.get(RUNS, headers={"Authorization": header})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"


def test_no_token_is_refused_everywhere(anyone: TestClient, app: FastAPI) -> None:
    for path, methods in app.openapi()["paths"].items():
        address = path.format(run=FINISHED, winner="w", name="n", action="pause")
        for method in methods:
            if (method, path) == ("post", "/api/v1/session"):
                continue
            answer = anyone.request(method, address, json={"study": "tiny"} if method == "post" else None)
            assert answer.status_code == 401, (method, path)


def test_a_revoked_token_and_its_sign_ins_are_refused(
    app: FastAPI, runner: TestClient, service: State, run_token: str
) -> None:
    browser = TestClient(app)
    browser.post("/api/v1/session", json={"token": run_token})
    assert runner.get(RUNS).status_code == browser.get(RUNS).status_code == 200
    service.tokens.revoke(run_token.split("_")[1])
    assert runner.get(RUNS).status_code == browser.get(RUNS).status_code == 401


def test_an_expired_token_is_refused(app: FastAPI, service: State, monkeypatch: pytest.MonkeyPatch) -> None:
    text = service.tokens.create("short", "run", days=1)[1]
    client = TestClient(app, headers={"Authorization": f"Bearer {text}"})
    assert client.get(RUNS).status_code == 200
    now = service.tokens._now
    monkeypatch.setattr(service.tokens, "_now", lambda: now() + 86_401)
    assert client.get(RUNS).status_code == 401


def test_who_may_read_may_not_run(reader: TestClient, finished_run: Run) -> None:
    assert reader.post(RUNS, json={"study": "tiny"}).status_code == 403
    for action in ("pause", "resume", "cancel"):
        assert reader.post(f"{RUNS}/{FINISHED}/{action}").status_code == 403
    signed_in = reader.post("/api/v1/session", json={"token": reader.headers["authorization"][7:]}).json()
    assert signed_in["role"] == "read"
    assert reader.post(RUNS, json={"study": "tiny", "role": "run"}).status_code in (403, 422)
    assert reader.get(RUNS).json()["runs"][0]["state"] == "finished"


FOREIGN = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "http://["},
    {"Origin": "http://testserver.evil.example"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "http://testserver"},
    {"Sec-Fetch-Site": "same-site"},
]


@pytest.mark.parametrize("headers", FOREIGN)
def test_another_site_cant_use_a_sign_in(app: FastAPI, run_token: str, headers: dict[str, str]) -> None:
    browser = TestClient(app)
    sign_in(browser, run_token)
    body = {"study": "tiny"}
    assert browser.post(RUNS, json=body, headers=headers).status_code == 403
    assert browser.delete("/api/v1/session", headers=headers).status_code == 403
    form = browser.post(RUNS, content=b'{"study": "tiny"}', headers={"Content-Type": "text/plain"} | headers)
    assert form.status_code == 403
    assert browser.get(RUNS, headers=headers).json()["runs"] == []
    assert "access-control-allow-origin" not in browser.get(RUNS, headers=headers).headers
    bearer = {"Authorization": f"Bearer {run_token}"}  # no browser sends it on its own
    assert TestClient(app, headers=bearer).post(RUNS, json=body, headers=headers).status_code == 201


def test_only_json_is_read_by_the_api(runner: TestClient) -> None:
    form = runner.post(RUNS, content=b'{"study": "tiny"}', headers={"Content-Type": "text/plain"})
    assert form.status_code == 422


def test_signing_in_is_slowed_down_but_not_for_those_who_are_in(
    app: FastAPI, anyone: TestClient, runner: TestClient, service: State, run_token: str
) -> None:
    assert runner.get(RUNS).status_code == 200
    for _ in range(service.settings.login_attempts):
        assert anyone.post("/api/v1/session", json={"token": "nas_guess"}).status_code == 401
    answer = anyone.post("/api/v1/session", json={"token": "nas_guess"})
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 0
    assert runner.get(RUNS).status_code == 200
    assert anyone.post("/api/v1/session", json={"token": run_token}).status_code == 200
    another = service.tokens.create("late", "run")[1]
    assert anyone.post("/api/v1/session", json={"token": another}).status_code == 429


@pytest.mark.parametrize("headers", FOREIGN)
def test_another_site_cant_sign_a_browser_in(
    app: FastAPI, run_token: str, headers: dict[str, str], service: State
) -> None:
    browser = TestClient(app)
    assert browser.post("/login", data={"token": run_token}, headers=headers).status_code == 403
    assert browser.post("/api/v1/session", json={"token": run_token}, headers=headers).status_code == 403
    assert COOKIE not in browser.cookies


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "http://testserver"}, {"Sec-Fetch-Site": "same-origin", "Origin": "http://behind"}, {}],
    ids=["origin", "a proxy changed the host", "no browser"],
)
def test_our_own_pages_and_programs_sign_in(app: FastAPI, run_token: str, headers: dict[str, str]) -> None:
    browser = TestClient(app, headers=headers)
    assert sign_in(browser, run_token).status_code == 303
    assert browser.post("/api/v1/session", json={"token": run_token}).status_code == 200
    assert browser.post(RUNS, json={"study": "tiny"}).status_code == 201


def guess(app: FastAPI, peer: str, forwarded: str) -> int:
    client = TestClient(app, client=(peer, 1))
    body = {"token": "nas_guess"}
    return client.post("/api/v1/session", json=body, headers={"X-Forwarded-For": forwarded}).status_code


def test_the_limit_cant_be_walked_around_by_a_forwarded_address(app: FastAPI, service: State) -> None:
    limit = service.settings.login_attempts
    found = [guess(app, "127.0.0.1", f"192.0.2.{number}") for number in range(limit + 1)]
    assert found == [401] * limit + [429]


def test_a_declared_proxy_says_who_tries(settings: Settings, studies_of_tests: None) -> None:
    app = create_app(
        settings.model_copy(update={"proxies": ("127.0.0.1", "10.0.0.0/8"), "login_attempts": 2})
    )
    for forwarded in ("192.0.2.1", "198.51.100.9, 192.0.2.1", "192.0.2.1, 10.1.2.3"):
        last = guess(app, "127.0.0.1", forwarded)
    assert last == 429  # the last address that no proxy of ours has, whatever the client put before it
    assert guess(app, "127.0.0.1", "192.0.2.2") == 401
    assert guess(app, "192.0.2.3", "192.0.2.1") == 401  # the peer is no proxy: it is counted itself
    app.state.service.close()


def test_of_forty_attempts_at_once_as_many_as_allowed_are_looked_at(app: FastAPI, service: State) -> None:
    token = service.tokens.create("known", "run")[1]
    wrong = token[:-3] + "AAA"  # the id is right
    with ThreadPoolExecutor(40) as pool:
        ask = partial(TestClient(app).post, "/api/v1/session", json={"token": wrong})
        found = Counter(answer.status_code for answer in pool.map(lambda _: ask(), range(40)))
    assert found == {401: service.settings.login_attempts, 429: 40 - service.settings.login_attempts}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"json": {"evaluations": 9}}, 400),
        ({"content": b"evaluations=9", "headers": {"content-type": "text/plain"}}, 400),
        ({"content": b"--", "headers": {"content-type": "multipart/form-data"}}, 400),
        ({"files": {"evaluations": b"9"}}, 422),
        ({"data": {"limit.num_params": ["1", "2"]}}, 422),
        ({"data": {f"field{number}": "" for number in range(1001)}}, 400),
    ],
)
def test_what_is_no_form_of_ours_starts_nothing(
    app: FastAPI, run_token: str, service: State, body: dict[str, Any], status: int
) -> None:
    browser = TestClient(app)
    sign_in(browser, run_token)
    assert browser.post("/studies/tiny/runs", **body).status_code == status
    assert service.store.runs(before=None, limit=1) == []


NO_NUMBERS = ["5_000", "\u0665", "\uff15", "0x10", "1e400", "inf", "nan", "5,000", "--5"]


@pytest.mark.parametrize("text", NO_NUMBERS)
def test_numbers_are_digits(app: FastAPI, run_token: str, finished_run: Run, text: str) -> None:
    browser = TestClient(app, headers={"accept": "text/html"}, follow_redirects=False)
    sign_in(browser, run_token)
    for name in ("evaluations", "seed", "limit.num_params"):
        answer = browser.post("/studies/tiny/runs", data={name: text})
        assert answer.status_code == 422
        assert "is expected" in answer.text
    assert browser.get(f"/runs/{FINISHED}/points", params={"after": text}).status_code == 422
    assert browser.get(RUNS, params={"limit": text}).status_code == 422
    asked = {"goal": "accuracy", "x": "num_params", "y": "accuracy"}
    for limit, status in ((text, 422), ("1.5e3", 200)):
        answer = browser.get(f"/runs/{FINISHED}/explore", params=asked | {"limit": f"num_params:{limit}"})
        assert answer.status_code == status


@pytest.mark.parametrize("value", ["x\r\nSet-Cookie: a=b", "x%0d%0aSet-Cookie:%20a=b", "x\nX-Evil: 1"])
def test_no_header_is_injected(runner: TestClient, finished_run: Run, value: str) -> None:
    encoded = value.replace("\r", "%0d").replace("\n", "%0a").replace(" ", "%20")
    for address in (f"{RUNS}/{encoded}", f"{RUNS}/{FINISHED}/winners/{encoded}/zip", f"/{encoded}"):
        answer = runner.get(address, headers={"Host": "evil.example"}, follow_redirects=False)
        assert answer.status_code == 404
        assert "set-cookie" not in answer.headers
        assert "x-evil" not in answer.headers
    slash = runner.get(f"{RUNS}/", headers={"Host": "evil.example"}, follow_redirects=False)
    assert slash.status_code == 404
    assert "evil.example" not in str(slash.headers)


def test_last_event_ids_are_only_positions(runner: TestClient, finished_run: Run) -> None:
    for last in ("../../etc", "99999999999999999999-1", "1-1; DROP", "-1--1"):
        answer = runner.get(f"{RUNS}/{FINISHED}/events", headers={"Last-Event-ID": last})
        assert answer.status_code == 200
        assert "event: done" in answer.text


def report_with(service: State, **change: object) -> Path:
    """Change the first winner in the report of the finished run, as somebody with a foot in the door might."""
    path = service.settings.runs / FINISHED / "report.json"
    edit_json(path, lambda report: report["winners"][0].update(change))
    return path.parent


@pytest.mark.parametrize(
    "name", ["../../../service.db", "/etc/passwd", "..", "README.md/../../../report.json"]
)
def test_a_report_cant_name_files_elsewhere(
    runner: TestClient, finished_run: Run, service: State, name: str
) -> None:
    variants = read_json(service.settings.runs / FINISHED / "report.json")["winners"][0]["variants"]
    folder = report_with(service, variants=[{**variants[0], "file": name}])
    id_ = read_json(folder / "report.json")["winners"][0]["id"]
    answer = runner.get(f"{RUNS}/{FINISHED}/winners/{id_}/zip")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        names = archive.namelist()
    assert all(n.startswith(f"{id_}/") and ".." not in n and "//" not in n for n in names)
    assert not any("passwd" in n or "service.db" in n or "report.json" in n for n in names)


def test_a_winner_cant_be_a_folder_elsewhere(runner: TestClient, finished_run: Run, service: State) -> None:
    report_with(service, id="../..")
    assert runner.get(f"{RUNS}/{FINISHED}/winners").status_code == 200
    answer = runner.get(f"{RUNS}/{FINISHED}/pareto.zip")
    assert (answer.status_code, answer.headers["content-type"]) == (409, "application/problem+json")
    assert str(service.settings.folder) not in answer.text


def test_links_are_not_followed(runner: TestClient, finished_run: Run, service: State) -> None:
    winners = service.settings.runs / FINISHED / "winners"
    id_ = runner.get(f"{RUNS}/{FINISHED}/winners").json()["winners"][0]["id"]
    (winners / id_ / "model.onnx").unlink()
    (winners / id_ / "model.onnx").symlink_to("/etc/passwd")
    assert runner.get(f"{RUNS}/{FINISHED}/winners/{id_}/files/model.onnx").status_code == 404
    answer = runner.get(f"{RUNS}/{FINISHED}/winners/{id_}/zip")
    assert answer.status_code == 409
    assert b"root:" not in answer.content
