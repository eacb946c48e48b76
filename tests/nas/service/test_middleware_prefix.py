"""The service below a path of a proxy, whether the proxy strips that path or not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from service_fakes import FINISHED, sign_in
from starlette.types import ASGIApp, Receive, Scope, Send

import nas.service
from nas.errors import ServiceError
from nas.service.settings import OWN_PATHS, Settings, settings_from
from nas.service.state import State
from nas.service.store import Run

ROOT = "/nas"
HTML = {"accept": "text/html"}


class Proxy:
    """What stands in front: it passes on what is below its path, with the path or without it."""

    def __init__(self, app: ASGIApp, strips: bool) -> None:
        self._app, self._strips = app, strips

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        assert path == ROOT or path.startswith(f"{ROOT}/"), f"{path} is not for the service"
        if self._strips:
            scope = {**scope, "path": path.removeprefix(ROOT) or "/"}
        await self._app(scope, receive, send)


class Links(HTMLParser):
    """The addresses in a page: of links, forms, scripts, styles and pictures."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found += [
            (tag, value) for name, value in attributes if name in ("href", "src", "action") and value
        ]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(folder=tmp_path / "service", root_path=f"{ROOT}/", keep_alive_s=0.05)


@pytest.fixture(params=[True, False], ids=["stripping", "not stripping"])
def person(app: FastAPI, run_token: str, request: pytest.FixtureRequest) -> TestClient:
    """Somebody with a browser behind the proxy, signed in."""
    client = TestClient(
        Proxy(app, request.param), f"http://testserver{ROOT}", headers=HTML, follow_redirects=False
    )
    assert sign_in(client, run_token).headers["location"] == f"{ROOT}/runs"
    return client


def pages(service: State) -> Iterator[str]:
    yield from (
        "/studies",
        "/studies/tiny",
        "/runs",
        f"/runs/{FINISHED}",
        f"/runs/{FINISHED}/parts",
        "/compare",
        "/docs",
    )
    snapshot = service.runs.view(service.store.run(FINISHED)).snapshot()  # type: ignore[arg-type]
    yield f"/runs/{FINISHED}/compare?a={snapshot.rows[0].number}&b={snapshot.rows[1].number}"
    yield f"/runs/{FINISHED}/winners/{snapshot.winners[0].id}"
    yield "/nothing"


def test_every_address_of_every_page_leads_somewhere_below_the_prefix(
    person: TestClient, service: State, finished_run: Run
) -> None:
    seen = set()
    for address in pages(service):
        for tag, link in Links(person.get(address).text).found:
            if link.startswith(("#", "https://")):
                continue
            assert link.startswith(f"{ROOT}/"), f"{tag} of {address} leads to {link}"
            seen.add((tag, link))
    assert {"a", "form", "script", "link", "img"} <= {tag for tag, _ in seen}
    for tag, link in seen:
        status = person.get(link.removeprefix(ROOT)).status_code
        assert status in (200, 303, 307) or (tag, status) == ("form", 405), link


@pytest.mark.parametrize("path", ["", "/"])
def test_the_prefix_alone_leads_to_the_pages(person: TestClient, path: str) -> None:
    answer = person.request("GET", f"http://testserver{ROOT}{path}")
    assert answer.headers["location"] == f"{ROOT}/studies"


def test_redirects_stay_below_the_prefix(app: FastAPI, person: TestClient, service: State) -> None:
    run = person.post("/studies/tiny/runs").headers["location"]
    assert run.startswith(f"{ROOT}/runs/tiny-")
    for action in ("pause", "resume", "cancel"):
        answer = person.post(f"{run.removeprefix(ROOT)}/{action}")
        assert answer.headers["location"] == run, action
    assert person.post("/logout").headers["location"] == f"{ROOT}/login"
    assert person.get("/runs").headers["location"] == f"{ROOT}/login?next=/runs"


def test_cookies_are_for_the_prefix_alone(app: FastAPI, run_token: str) -> None:
    client = TestClient(Proxy(app, True), f"http://testserver{ROOT}")
    (cookie,) = sign_in(client, run_token).headers.get_list("set-cookie")
    assert re.search(r"; path=/nas(;|$)", cookie.lower())


def test_streams_and_downloads_are_below_the_prefix(
    person: TestClient, service: State, finished_run: Run
) -> None:
    assert "event: done" in person.get(f"/api/v1/runs/{FINISHED}/events").text
    assert person.get(f"/api/v1/runs/{FINISHED}/pareto.zip").content.startswith(b"PK")
    described: dict[str, Any] = person.get("/api/v1/openapi.json").json()
    assert described["servers"] == [{"url": ROOT}]


def test_scripts_name_no_address_without_the_prefix() -> None:
    for path in (Path(nas.service.__file__).parent / "static").glob("*.js"):
        guilty = re.findall(rf"[`'\"]/(?:{'|'.join(OWN_PATHS)})\b", path.read_text())
        assert not guilty, path.name


@pytest.mark.parametrize(
    "root", ["nas", "/a b", "/..", "/nas/../x", "/runs", "/api/v1", "//evil.example", "/x?y"]
)
def test_a_prefix_that_is_none_is_refused(root: str) -> None:
    with pytest.raises(ServiceError, match="NAS_SERVICE_ROOT_PATH"):
        settings_from(root_path=root)


@pytest.mark.parametrize(
    ("root", "expected"), [("", ""), ("/", ""), ("/nas/", "/nas"), ("/a/b-c.d", "/a/b-c.d")]
)
def test_a_prefix_is_written_without_a_slash_at_its_end(root: str, expected: str) -> None:
    assert Settings(root_path=root).root_path == expected


def test_what_no_prefix_may_begin_with_is_how_our_paths_begin(app: FastAPI) -> None:
    from nas.service import api, pages, run_data, run_pages

    routers = [module.router for module in (api, pages, run_data, run_pages)]
    routers += [api.open_router, pages.open_router]
    paths = {getattr(route, "path", None) for router in (*routers, app) for route in router.routes}
    assert {path.split("/")[1] for path in paths if path} - {""} == set(OWN_PATHS)
