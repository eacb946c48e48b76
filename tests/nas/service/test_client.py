from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest
from fastapi.testclient import TestClient
from service_fakes import FINISHED

from nas.commands import remote
from nas.errors import ServiceError
from nas.service.client import Client
from nas.service.store import Run

Printed = pytest.CaptureFixture[str]


@pytest.fixture
def client(runner: TestClient, run_token: str) -> Client:
    return Client("http://testserver/", run_token, runner._transport)


def answering(status: int, content: bytes, kind: str) -> Client:
    """Return the client of a server that always says this."""

    def answer(_request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(status, content=content, headers={"Content-Type": kind})

    return Client("http://server", "nas_x", httpx2.MockTransport(answer))


def test_a_study_is_started_and_looked_at(client: Client, capsys: Printed) -> None:
    remote.print_studies(client, as_json=False)
    assert capsys.readouterr().out.split() == ["broken", "strict", "tiny"]
    changes = {"evaluations": 4, "seed": None, "objectives": None, "constraints": {}}
    remote.start_run(client, "tiny", changes)
    run = capsys.readouterr().out.split()[0]
    assert client.run(run).changes == {"evaluations": 4}
    remote.print_status(client, run)
    assert capsys.readouterr().out.startswith("queued\n0 evaluated, 0 failed")


def test_the_front_reads_as_that_of_nas_front(
    client: Client,
    finished_run: Run,
    tiny_run: Path,
    capsys: Printed,
    nas_command: Callable[..., int],
) -> None:
    remote.print_front(client, FINISHED, as_json=True)
    over_there = json.loads(capsys.readouterr().out)
    assert nas_command("front", tiny_run, "--json") == 0
    assert over_there == json.loads(capsys.readouterr().out)
    remote.print_front(client, FINISHED, as_json=False)
    assert "front of 6 evaluations" in capsys.readouterr().out


def test_the_pareto_set_is_unpacked(client: Client, finished_run: Run, tmp_path: Path) -> None:
    remote.export(client, FINISHED, tmp_path / "models")
    winners = [path for path in (tmp_path / "models").iterdir() if path.is_dir()]
    assert winners
    assert all((winner / "model.onnx").exists() for winner in winners)
    assert not list(tmp_path.glob(".*"))
    with pytest.raises(ServiceError, match="exists already"):
        remote.export(client, FINISHED, tmp_path / "models")


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "a/../../evil", "..\\evil"])
def test_a_server_cant_write_elsewhere(tmp_path: Path, name: str) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("fine", "x")
        archive.writestr(name, "x")
    with pytest.raises(ServiceError, match="nothing was unpacked"):
        remote.export(answering(200, content.getvalue(), "application/zip"), "r", tmp_path / "to")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("client", "message"),
    [
        (
            answering(404, b'{"detail": "There is no run."}', "application/problem+json"),
            "says: There is no run",
        ),
        (answering(502, b"<html>", "text/html"), "answered 502"),
        (answering(200, b"<html>", "text/html"), "not how a nas service"),
    ],
)
def test_what_a_server_says_is_one_sentence(client: Client, message: str, tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match=message):
        client.run("x")
    with pytest.raises(ServiceError, match=message):
        client.download("x", tmp_path / "zip")


@pytest.mark.parametrize("content", [b"[]", b"{}", b"no JSON", b'{"id": 1}'])
def test_an_answer_that_is_none_of_a_run_is_told(content: bytes) -> None:
    with pytest.raises(ServiceError, match="not how a nas service"):
        answering(200, content, "application/json").run("x")


def test_half_a_zip(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match="no whole zip"):
        remote.export(answering(200, b"PK\x03\x04", "application/zip"), "r", tmp_path / "to")


@pytest.mark.parametrize("host", ["127.0.0.1:1", "gpu..box:8000", "a" * 64])
def test_nobody_listens(host: str) -> None:
    with pytest.raises(ServiceError, match="can't be reached"):
        Client(f"http://{host}", "nas_x").studies()


def test_without_a_token_or_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NAS_TOKEN", raising=False)
    with pytest.raises(ServiceError, match="NAS_TOKEN"):
        Client("http://server")
    with pytest.raises(ServiceError, match="give an address"):
        Client("server:8000", "nas_x")
    with pytest.raises(ServiceError, match="holds what no token") as error:
        Client("http://server", "nas_secret\r\nX-Evil: 1")
    assert "secret" not in str(error.value)


def test_names_in_an_address_are_only_names(client: Client) -> None:
    with pytest.raises(ServiceError, match=r"no run|nothing at this address"):
        client.run("../studies")
