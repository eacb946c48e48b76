from __future__ import annotations

import contextlib
import dataclasses
import http.server
import json
import platform
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from agents import (
    PATIENCE_S,
    RunningAgent,
    endless_network,
    greedy_network,
    network,
    port_to_come_back_to,
    running_agent,
    unknown_operator,
)

from nas import LatencyMs
from nas.devices import Device, Remote
from nas.devices.agent_link import AgentLink
from nas.errors import (
    DeviceFaultError,
    DeviceRefusedError,
    DeviceUnavailableError,
    ExportError,
    StudyError,
)
from nas.testing import check_device

FACTS: dict[str, Any] = {
    "agent": "1.0",
    "protocol": 1,
    "oldest_protocol": 1,
    "name": "board",
    "instance": "one",
    "processor": "a processor",
    "machine": "riscv64",
    "max_clock_mhz": 1500,
    "cores": 4,
    "onnxruntime": "1.20.0",
    "python": "3.9.2",
    "busy": False,
    "state": {"temperature_c": 51.2, "clock_mhz": 1500, "throttled": None},
    "max_model_bytes": 1 << 20,
    "max_cache_bytes": 1 << 20,
    "max_seconds": 5,
}


@contextlib.contextmanager
def answering(*answers: tuple[int, object]) -> Iterator[Remote]:
    """A device that answers requests with these, in turn, and the last one from then on."""
    left = list(answers)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, content = left.pop(0) if len(left) > 1 else left[0]
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_PUT = do_POST = do_GET  # noqa: N815

        def log_message(self, format: str, *args: object) -> None: ...

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield Remote(f"http://127.0.0.1:{server.server_port}", "a" * 20)
        finally:
            server.shutdown()
            thread.join()


def test_it_is_a_device_whose_repr_has_neither_token_nor_address() -> None:
    device = Remote("http://10.0.0.7:8710", "a secret token")
    assert isinstance(device, Device)
    assert repr(device) == "Remote(threads=1)"
    assert "secret" not in repr(LatencyMs(device=device, name="latency_ms_pi"))
    assert device == Remote("http://10.0.0.7:8710", "a secret token")


def test_it_keeps_the_contract_of_devices(agent: RunningAgent) -> None:
    check_device(agent.remote())


@pytest.mark.parametrize(
    "url", ["", "10.0.0.7:8710", "ftp://x", "http://", "http://x:port", "http://x/path", "http://u:p@x", 7]
)
def test_an_address_that_is_none_is_refused(url: Any) -> None:
    with pytest.raises(StudyError, match="give an address such as"):
        Remote(url)


@pytest.mark.parametrize("host", ["..", "board..local", "[:::::]", "a" * 64])
def test_a_host_that_has_no_such_name_is_refused_and_not_waited_for(host: str) -> None:
    with pytest.raises(DeviceRefusedError, match=r"is no address .*: give one such as"):
        Remote(f"http://{host}:8710", token="t").facts()


@pytest.mark.parametrize("threads", [0, -1, 1.5, True])
def test_threads_without_sense_are_refused(threads: Any) -> None:
    with pytest.raises(StudyError, match="threads="):
        Remote("http://x", threads=threads)


def test_networks_are_timed_by_the_agent_turn_by_turn(agent: RunningAgent) -> None:
    device = agent.remote()
    with device.open([network(8), network(400)], 2) as session:
        found = session.time([0, 1, 0], 5)
    assert found.seconds.shape == (3, 5)
    assert 0 <= found.cpu_share <= 1
    assert (found.seconds > 0).all()
    assert device.identity().endswith(
        f"({platform.machine()}), 1 thread(s), ONNX Runtime {device.facts().onnxruntime}"
    )


def test_a_model_is_sent_once(agent: RunningAgent) -> None:
    device, model = agent.remote(), network(9)
    for _ in range(2):
        with device.open([model], 1):
            pass
    before = {path.name: path.stat().st_ino for path in (agent.folder / "models").iterdir()}
    with device.open([model], 1) as session:
        session.time([0], 1)
    assert {path.name: path.stat().st_ino for path in (agent.folder / "models").iterdir()} == before


def test_a_damaged_model_is_sent_again(tmp_path: Path) -> None:
    with running_agent(tmp_path) as agent:
        with agent.remote().open([network(9)], 1):
            pass
        (path,) = (agent.folder / "models").iterdir()
        content = path.read_bytes()
        path.write_bytes(content[:-1] + b"?")
        agent.timer.kill()
        with pytest.raises(MemoryError, match="the measuring process was killed"):
            agent.remote().open([network(9)], 1).__enter__()
        with agent.remote().open([network(9)], 1) as session:
            session.time([0], 2)
        assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (unknown_operator(), ExportError, "has no operator Nonsense"),
        (unknown_operator("com.acme"), ExportError, "has no operator com.acme:Nonsense"),
        (b"nonsense", ExportError, "says: "),
        (network()[:-40], ExportError, "says: "),
        (b"ORTM" + bytes(2000), ExportError, "says: "),
        (greedy_network(), MemoryError, "memory ran out"),
        (bytes(2 << 20), DeviceRefusedError, "larger --max-model-mb"),
    ],
    ids=["operator", "foreign operator", "nonsense", "cut", "flatbuffer", "greedy", "large"],
)
def test_a_model_that_cannot_run_is_refused_and_the_agent_goes_on(
    agent: RunningAgent, model: bytes, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        agent.remote().open([network(), model], 1).__enter__()
    with agent.remote().open([network()], 1) as session:
        assert session.time([0, 0], 2).seconds.shape == (2, 2)


def test_a_network_that_runs_for_too_long_is_refused_and_the_agent_goes_on(
    agent: RunningAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = dataclasses.replace(agent.remote().facts(), max_seconds=2)
    with monkeypatch.context() as patch:
        patch.setattr(AgentLink, "facts", lambda _: facts)
        with pytest.raises(ExportError, match="takes more than 2 s"):
            agent.remote().open([network(), endless_network()], 1).__enter__()
    with agent.remote().open([network()], 1) as session:
        assert session.time([0, 0], 2).seconds.shape == (2, 2)


def test_a_process_that_crashes_is_begun_anew_and_nothing_is_half_measured(agent: RunningAgent) -> None:
    device = agent.remote()
    with device.open([network()], 1) as session:
        agent.timer.send_signal(11)
        with pytest.raises(ExportError, match="crashes \\(SIGSEGV\\)"):
            session.time([0], 2)
        with pytest.raises(DeviceUnavailableError, match="began anew during a measurement"):
            session.time([0], 2)
    with device.open([network()], 1) as session:
        session.time([0], 2)


def test_an_agent_that_is_killed_and_started_again_has_kept_everything(tmp_path: Path) -> None:
    port = port_to_come_back_to()
    with running_agent(tmp_path, port=port) as first:
        token = first.token
        device = first.remote()
        with device.open([network()], 1) as session:
            nurse = first.nurse
            timer = first.timer
            first.kill()
            with pytest.raises(DeviceUnavailableError, match="doesn't answer"):
                session.time([0], 2)
            with pytest.raises(DeviceUnavailableError, match="doesn't answer"):
                device.identity()
            for process in (nurse, timer):
                process.wait(timeout=PATIENCE_S)
            with running_agent(tmp_path, port=port) as second:
                assert second.token == token
                with pytest.raises(DeviceUnavailableError, match="began anew during a measurement"):
                    session.time([0], 2)
                models = list((second.folder / "models").iterdir())
                with device.open([network()], 1) as again:
                    again.time([0], 2)
                assert list((second.folder / "models").iterdir()) == models


def test_without_its_nurse_the_agent_ends(tmp_path: Path) -> None:
    with running_agent(tmp_path) as agent:
        timer = agent.timer
        agent.nurse.kill()
        timer.wait(timeout=PATIENCE_S)
        with pytest.raises(DeviceUnavailableError, match="is being ended"):
            agent.remote().open([network()], 1).__enter__()
        assert agent.process.wait(timeout=PATIENCE_S) == 1


def test_a_wrong_token_ends_the_run_and_is_not_waited_for(agent: RunningAgent) -> None:
    with pytest.raises(DeviceRefusedError, match="doesn't take the token: give the one"):
        Remote(agent.url, "another token").identity()


def test_the_token_comes_from_a_file_or_the_environment(
    agent: RunningAgent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NAS_AGENT_TOKEN", raising=False)
    with pytest.raises(DeviceRefusedError, match="there is no token"):
        Remote(agent.url).identity()
    with pytest.raises(DeviceRefusedError, match="can't be read"):
        Remote(agent.url, token_file=tmp_path / "none").identity()
    (tmp_path / "token").write_text(agent.token + "\n")
    assert Remote(agent.url, token_file=tmp_path / "token").identity()
    monkeypatch.setenv("NAS_AGENT_TOKEN", agent.token)
    assert Remote(agent.url).identity()


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (
            (200, FACTS | {"protocol": 0, "oldest_protocol": 0, "agent": "0.3"}),
            DeviceRefusedError,
            "0.3 .* a new one",
        ),
        ((200, FACTS | {"protocol": 9, "oldest_protocol": 8}), DeviceRefusedError, "install a newer nas"),
        ((200, FACTS | {"cores": "four"}), DeviceRefusedError, "is no agent of nas .cores"),
        ((200, {"hello": "world"}), DeviceRefusedError, "is no agent of nas"),
        ((200, b"<html>"), DeviceRefusedError, "is no agent of nas"),
        ((404, b"<html>"), DeviceRefusedError, "is no agent of nas"),
        ((302, b""), DeviceRefusedError, "is no agent of nas"),
        ((502, b"<html>bad gateway"), DeviceUnavailableError, "says: nothing more"),
        ((503, {"error": "busy", "message": "busy."}), DeviceUnavailableError, "says: busy"),
        ((503, {"error": "throttled", "message": "at 81 °C."}), DeviceUnavailableError, "at 81 °C"),
        ((500, {}), DeviceUnavailableError, "says: nothing more"),
    ],
)
def test_what_is_no_agent_or_an_old_one_is_refused_and_what_passes_is_waited_for(
    answer: tuple[int, object], error: type[Exception], message: str
) -> None:
    with answering(answer) as device, pytest.raises(error, match=message):
        device.identity()


def times(seconds: Any, **changes: Any) -> tuple[int, dict[str, Any]]:
    return 200, {"seconds": seconds, "cpu_share": 1.0, "instance": "one", **changes}


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (times([[1.0]]), DeviceFaultError, "of 1 turns: 2 of 2 runs"),
        (times([[1.0], [2.0]]), DeviceFaultError, "2 of 2 runs"),
        (times([[1.0, 1.0], [1.0]]), DeviceFaultError, "2 of 2 runs"),
        (times([[1.0, 1.0], [1.0, None]]), DeviceFaultError, "told no times"),
        (times([[1.0, 1.0], [1.0, float("nan")]]), DeviceFaultError, "told no times"),
        (times([[1.0, 1.0], [1.0, float("inf")]]), DeviceFaultError, "told no times"),
        (times([[1.0, 1.0], [1.0, 0.0]]), DeviceFaultError, r"told the times \[0.0\]"),
        (times([[1.0, 1.0], [1.0, -1.0]]), DeviceFaultError, r"told the times \[-1.0\]"),
        (times([[1.0, 1.0], [1.0, 1.0]], cpu_share="all"), DeviceFaultError, "told no times"),
        (times([[1.0, 1.0], [1.0, 1.0]], instance="two"), DeviceUnavailableError, "began anew"),
        ((409, {"error": "missing", "models": []}), DeviceUnavailableError, "lost models"),
        ((200, {}), DeviceFaultError, "told no times"),
    ],
)
def test_no_network_is_judged_by_nonsense_or_half_a_measurement(
    answer: tuple[int, object], error: type[Exception], message: str
) -> None:
    with (
        answering((200, FACTS), times([]), answer) as device,
        device.open([b"model"], 1) as session,
        pytest.raises(error, match=message),
    ):
        session.time([0, 0], 2)


def test_another_device_than_the_one_that_told_its_identity_is_not_used() -> None:
    with answering((200, FACTS), (200, FACTS | {"processor": "another"})) as device:
        assert (
            device.identity() == "a processor at up to 1500 MHz (riscv64), 1 thread(s), ONNX Runtime 1.20.0"
        )
        with pytest.raises(DeviceUnavailableError, match="another device answers"):
            device.open([b"model"], 1).__enter__()


def test_models_that_push_each_other_out_are_not_sent_forever() -> None:
    missing = (409, {"error": "missing", "models": []})
    with (
        answering((200, FACTS), missing) as device,
        pytest.raises(DeviceUnavailableError, match="lets go of models"),
    ):
        device.open([b"model"], 1).__enter__()
