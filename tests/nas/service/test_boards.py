from __future__ import annotations

from pathlib import Path

import pytest
from agents import running_agent
from fastapi import FastAPI
from fastapi.testclient import TestClient
from service_fakes import sign_in

from nas.errors import ServiceError
from nas.service.boards import Boards
from nas.service.state import State

HTML = {"accept": "text/html"}
NOBODY = "http://127.0.0.1:9"


def test_a_device_that_is_there_and_one_that_is_away_are_shown(
    app: FastAPI, service: State, read_token: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_agent(tmp_path / "board", "--name", "kitchen <pi>") as agent:
        monkeypatch.setenv("NAS_AGENT_TOKEN", agent.token)
        service.boards = Boards([agent.url, NOBODY])
        client = TestClient(app, headers={"authorization": f"Bearer {read_token}"})
        here, away = client.get("/api/v1/devices").json()
        assert (here["state"], here["name"]) == ("ready", "kitchen <pi>")
        assert here["cores"] >= 1
        assert (away["url"], away["state"]) == (NOBODY, "away")
        assert away["sentence"]
        sign_in(client, read_token)
        shown = client.get("/devices", headers=HTML).text
    assert "kitchen &lt;pi&gt;" in shown
    assert f"the agent at {NOBODY} doesn" in shown
    assert agent.token not in shown


def test_without_devices_the_page_says_how_to_get_one(app: FastAPI, read_token: str) -> None:
    client = TestClient(app, headers={**HTML, "authorization": f"Bearer {read_token}"})
    assert "nas agent" in client.get("/devices").text
    assert client.get("/api/v1/devices").json() == []


def test_nobody_sees_devices_without_a_token(app: FastAPI) -> None:
    assert TestClient(app).get("/api/v1/devices").status_code == 401


def test_what_is_no_address_is_refused_when_the_service_starts() -> None:
    with pytest.raises(ServiceError, match=r"url='10\.0\.0\.7': give an address such as"):
        Boards(["10.0.0.7"])
