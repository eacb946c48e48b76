from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from fastapi.testclient import TestClient
from service_fakes import FINISHED

from nas.service.state import State
from nas.service.store import Run

EVENTS = f"/api/v1/runs/{FINISHED}/events"


def parsed(text: str) -> list[tuple[str, str, Any]]:
    """Return kind, id and data of each event."""
    found = []
    for block in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "event" in lines:
            found.append((lines["event"], lines["id"], json.loads(lines["data"])))
    return found


def kinds(events: list[tuple[str, str, Any]]) -> list[str]:
    return [kind for kind, _, _ in events]


def test_a_finished_run_is_told_whole_and_ends(reader: TestClient, finished_run: Run) -> None:
    answer = reader.get(EVENTS)
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = parsed(answer.text)
    assert kinds(events) == ["trial"] * 6 + ["front", "log", "status", "done"]
    trials = reader.get(f"/api/v1/runs/{FINISHED}/trials").json()["trials"]
    assert [{k: e[k] for k in trials[0]} for kind, _, e in events if kind == "trial"] == trials
    front = next(data for kind, _, data in events if kind == "front")
    assert front["trials"] == reader.get(f"/api/v1/runs/{FINISHED}/front").json()["trials"]
    assert next(data for kind, _, data in events if kind == "log") == {
        "lines": ["first line", "second line", "last line"]
    }
    assert events[-1][2] == reader.get(f"/api/v1/runs/{FINISHED}").json()


def test_whoever_lost_the_connection_goes_on_where_it_was(reader: TestClient, finished_run: Run) -> None:
    whole = parsed(reader.get(EVENTS).text)
    for position, (_, last, _) in enumerate(whole[:6]):
        rest = parsed(reader.get(EVENTS, headers={"Last-Event-ID": last}).text)
        assert [e[2] for e in rest if e[0] == "trial"] == [e[2] for e in whole[position + 1 : 6]]
    ended = parsed(reader.get(EVENTS, headers={"Last-Event-ID": whole[-1][1]}).text)
    assert kinds(ended) == ["front", "status", "done"]


def test_who_has_the_trials_gets_only_later_ones(reader: TestClient, finished_run: Run) -> None:
    assert kinds(parsed(reader.get(EVENTS, params={"after": 4}).text)).count("trial") == 2


def test_a_long_log_is_told_to_its_end(reader: TestClient, finished_run: Run, service: State) -> None:
    log = service.settings.runs / FINISHED / "log.txt"
    known = log.stat().st_size
    lines = [f"line {number} {'x' * 80}" for number in range(3000)]
    with log.open("a") as stream:
        stream.write("".join(f"{line}\n" for line in lines))
    events = parsed(reader.get(EVENTS, headers={"Last-Event-ID": f"6-{known}"}).text)
    assert [line for kind, _, data in events if kind == "log" for line in data["lines"]] == lines
    assert kinds(events)[-1] == "done"


async def first(stream: AsyncIterator[bytes], *wanted: str) -> list[tuple[str, str, Any]]:
    """Read until each kind of event was there once."""
    events: list[tuple[str, str, Any]] = []
    async for piece in stream:
        events += parsed(piece.decode())
        if set(wanted) <= set(kinds(events)):
            return events
    return events


def queued(service: State) -> Run:
    return service.supervisor.submit("tiny", {}, evaluations=6, device="cpu", token_id="ann")


def test_a_change_of_state_and_a_line_of_the_log_are_told(service: State) -> None:
    async def watch() -> None:
        run = queued(service)
        stream = service.watches.stream(run, 0, None, "ann", lambda: True)
        assert (await first(stream, "status"))[-1][2]["state"] == "queued"
        folder = service.settings.runs / run.id
        folder.mkdir()
        with (folder / "log.txt").open("w") as log:
            log.write("a whole line\nhalf a l")
            log.flush()
            assert (await first(stream, "log"))[-1][2] == {"lines": ["a whole line"]}
            log.write("ine\n")
            log.flush()
            assert (await first(stream, "log"))[-1][2] == {"lines": ["half a line"]}
        service.supervisor.act(run, "cancel")
        assert (await first(stream, "done"))[-1][2]["state"] == "cancelled"
        assert [piece async for piece in stream] == []

    asyncio.run(asyncio.wait_for(watch(), 60))


def test_a_silent_stream_says_that_it_lives_and_ends_with_its_token(service: State) -> None:
    async def watch() -> None:
        welcome = [True, True, False]
        stream = service.watches.stream(queued(service), 0, None, "ann", lambda: welcome.pop(0))
        pieces = [piece async for piece in stream]
        assert pieces.count(b": still here\n\n") == 2
        assert service.watches.num_streams["ann"] == 0

    asyncio.run(asyncio.wait_for(watch(), 60))


def test_the_end_of_the_service_ends_every_stream(service: State) -> None:
    async def watch() -> None:
        stream = service.watches.stream(queued(service), 0, None, "ann", lambda: True)
        await first(stream, "status")
        service.watches.end()
        async for _ in stream:
            pass

    asyncio.run(asyncio.wait_for(watch(), 60))


def test_one_look_serves_all_who_watch(service: State, finished_run: Run) -> None:
    async def watch() -> None:
        run = queued(service)
        streams = [service.watches.stream(run, 0, None, "ann", lambda: True) for _ in range(20)]
        for stream in streams:
            await first(stream, "status")
        assert service.watches.num_streams["ann"] == 20
        assert len(service.watches._tasks) == 1
        service.watches.end()

    asyncio.run(asyncio.wait_for(watch(), 60))


def test_a_token_has_so_many_streams(reader: TestClient, finished_run: Run, service: State) -> None:
    service.watches.max_streams = 0
    answer = reader.get(EVENTS)
    assert answer.status_code == 429
    assert answer.json()["what"] == "event streams"
