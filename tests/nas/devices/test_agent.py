from __future__ import annotations

import ast
import contextlib
import hashlib
import http.client
import json
import os
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from agents import PATIENCE_S, RunningAgent, endless_network, network, running_agent

import nas.devices.agent
from nas.devices.bundle import write_bundle
from nas.errors import DeviceUnavailableError

FOLDER = Path(nas.devices.agent.__file__).parent
MODEL = network()
DIGEST = hashlib.sha256(MODEL).hexdigest()
ONES = {"models": [DIGEST], "order": [0], "runs": 1, "batch": 1, "threads": 1, "seconds": 1, "wait": 1}


def asked(
    agent: RunningAgent, method: str, path: str, body: Any = b"", headers: dict[str, str] | None = None
) -> tuple[int, dict[str, Any]]:
    """Send a request with the token and return the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", agent.port, timeout=PATIENCE_S)
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    allowed = {"Authorization": f"Bearer {agent.token}", "Content-Length": str(len(body))}
    connection.request(method, path, body, allowed | (headers or {}))
    response = connection.getresponse()
    found = json.loads(response.read())
    connection.close()
    return response.status, found


def exchanged(agent: RunningAgent, raw: bytes) -> bytes:
    """Send bytes and return all that comes back."""
    with socket.create_connection(("127.0.0.1", agent.port), timeout=PATIENCE_S) as wire:
        wire.sendall(raw)
        wire.shutdown(socket.SHUT_WR)
        received = b""
        while piece := wire.recv(1 << 16):
            received += piece
        return received


def contents(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_it_imports_nothing_but_python_numpy_and_onnxruntime() -> None:
    allowed = {*sys.stdlib_module_names, "numpy", "onnxruntime"}
    for path in FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(), feature_version=(3, 9))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                assert name.partition(".")[0] in allowed or name.startswith("nas.devices.agent"), path


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--max-model-mb", 0], "--max-model-mb is 0: it must be 1 or more"),
        (["--max-model-mb", 9, "--max-cache-mb", 8], "the largest model must fit"),
        (["--port", 70000], "between 0 and 65535"),
        (["--host", "my..board"], "--host is my..board: it must be an address"),
        (["--core", 4096], "--core is 4096: it must be one of"),
        (["--token-file", os.devnull], "holds no token"),
        (["--token-file", "no/such/file"], "No such file"),
        (["--host", "203.0.113.1"], "Cannot assign"),
    ],
)
def test_what_cannot_start_is_told_in_a_sentence(words: list[object], message: str, tmp_path: Path) -> None:
    write_bundle(tmp_path / "agent.pyz")
    done = subprocess.run(
        [sys.executable, str(tmp_path / "agent.pyz"), "--folder", str(tmp_path / "kept"), *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_its_folder_is_its_own(agent: RunningAgent) -> None:
    assert stat.S_IMODE(agent.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((agent.folder / "token").stat().st_mode) == 0o600
    bundle = agent.folder.parent / "agent.pyz"
    done = subprocess.run(
        [sys.executable, str(bundle), "--folder", str(agent.folder), "--port", "0"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "another agent uses" in done.stderr


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/v1/device", {"Authorization": ""}, 401),
        ("GET", "/v1/device", {"Authorization": "Bearer no"}, 401),
        ("GET", "/v1/device", {"Authorization": "Bearer \xff\xfe"}, 401),
        ("PUT", f"/v1/models/{DIGEST}", {"Authorization": "Basic x", "Content-Length": "9999999999"}, 401),
        ("PUT", f"/v1/models/{DIGEST}", {"Content-Length": str(1 << 30)}, 413),
        ("PUT", f"/v1/models/{DIGEST}", {"Content-Length": "-1"}, 400),
        ("PUT", f"/v1/models/{DIGEST}", {"Content-Length": "1_0"}, 400),
        ("PUT", f"/v1/models/{DIGEST}", {"Content-Length": "9" * 99}, 400),
        ("PUT", f"/v1/models/{DIGEST}", {"Transfer-Encoding": "chunked"}, 411),
        ("POST", "/v1/measure", {"Content-Length": str(1 << 30)}, 413),
        ("PUT", "/v1/models/../../etc/passwd", {}, 404),
        ("PUT", f"/v1/models/..%2f{DIGEST}", {}, 404),
        ("PUT", f"/v1/models/{DIGEST.upper()}", {}, 404),
        ("PUT", f"/v1/models/{DIGEST}/..", {}, 404),
        ("PUT", f"http://x/v1/models/{DIGEST}", {}, 404),
        ("GET", f"/v1/models/{DIGEST}", {}, 404),
        ("POST", "/v1/device", {}, 404),
        ("GET", "/", {}, 404),
        ("DELETE", "/v1/device", {}, 501),
    ],
)
def test_a_hostile_request_is_refused_and_writes_nothing(
    agent: RunningAgent, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    before = contents(agent.folder.parent)
    found, content = asked(agent, method, path, b"", headers)
    assert found == status
    assert content["message"]
    assert contents(agent.folder.parent) == before


def test_strangers_that_say_nothing_keep_nobody_out(agent: RunningAgent) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(40):
            wire = stack.enter_context(
                socket.create_connection(("127.0.0.1", agent.port), timeout=PATIENCE_S)
            )
            wire.sendall(b"GET /v1/device HTTP/1.1\r\n")
        assert agent.remote().facts().cores > 0


def test_a_model_of_another_digest_is_refused(agent: RunningAgent) -> None:
    before = contents(agent.folder)
    status, content = asked(agent, "PUT", f"/v1/models/{'0' * 64}", MODEL)
    assert (status, content["error"]) == (422, "digest")
    assert contents(agent.folder) == before


def test_a_model_that_ends_early_leaves_nothing(agent: RunningAgent) -> None:
    before = contents(agent.folder)
    head = f"PUT /v1/models/{DIGEST[::-1]} HTTP/1.1\r\nAuthorization: Bearer {agent.token}\r\n"
    assert exchanged(agent, f"{head}Content-Length: 99\r\n\r\nhalf".encode()) == b""
    assert contents(agent.folder) == before


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff",
        b"[" * 100_000,
        b"[]",
        b"9" * 100_000,
        b'{"models": NaN}',
        {},
        ONES | {"models": []},
        ONES | {"models": DIGEST},
        ONES | {"models": ["../../etc/passwd"]},
        ONES | {"models": [DIGEST] * 2000},
        ONES | {"order": [1]},
        ONES | {"order": [-1]},
        ONES | {"order": [True]},
        ONES | {"order": [0.0]},
        ONES | {"order": [0] * 100_001},
        ONES | {"runs": 0},
        ONES | {"order": [0, 0], "runs": 600_000},
        ONES | {"batch": 0},
        ONES | {"batch": 1 << 40},
        ONES | {"threads": 0},
        ONES | {"threads": 1000},
        ONES | {"seconds": 0},
        ONES | {"wait": 3600},
        ONES | {"wait": None},
    ],
    ids=range(26),
)
def test_a_request_without_sense_is_refused(agent: RunningAgent, body: Any) -> None:
    status, content = asked(agent, "POST", "/v1/measure", body)
    assert (status, content["error"]) == (400, "request")
    assert len(content["message"]) < 300


def test_fuzzed_requests_end_no_agent_and_write_nothing(agent: RunningAgent) -> None:
    rng = np.random.default_rng(0)
    with agent.remote().open([MODEL], 1):
        pass
    allowed = f"Authorization: Bearer {agent.token}\r\n"
    body = json.dumps(ONES)
    whole = [
        f"GET /v1/device HTTP/1.1\r\n{allowed}\r\n",
        f"POST /v1/measure HTTP/1.1\r\n{allowed}Content-Length: {len(body)}\r\n\r\n{body}",
        f"PUT /v1/models/{DIGEST} HTTP/1.1\r\n{allowed}Content-Length: 40\r\n\r\n{'x' * 40}",
    ]
    before = contents(agent.folder.parent)
    for number in range(120):
        raw = bytearray(whole[number % 3].encode())
        for _ in range(rng.integers(1, 8)):
            raw[rng.integers(len(raw))] = rng.integers(256)
        exchanged(agent, bytes(raw[: rng.integers(1, len(raw) + 1)]))
    assert agent.process.poll() is None
    assert asked(agent, "GET", "/v1/device")[0] == 200
    assert contents(agent.folder.parent) <= before | {"kept/models/" + DIGEST + ".onnx"}


def test_one_measurement_at_a_time_and_the_others_are_told(agent: RunningAgent) -> None:
    endless = endless_network()
    digest = hashlib.sha256(endless).hexdigest()
    for model in (MODEL, endless):
        asked(agent, "PUT", f"/v1/models/{hashlib.sha256(model).hexdigest()}", model)
    long = ONES | {"models": [digest], "seconds": 600, "wait": 30}
    thread = threading.Thread(target=asked, args=(agent, "POST", "/v1/measure", long))
    thread.start()
    told: tuple[int, object] = (0, None)
    while thread.is_alive() and told != (503, "busy"):
        status, content = asked(agent, "POST", "/v1/measure", ONES | {"seconds": 600, "wait": 0})
        told = (status, content.get("error"))
    assert told == (503, "busy")
    agent.timer.kill()
    thread.join()


def test_ctrl_c_ends_all_of_its_processes(tmp_path: Path) -> None:
    with running_agent(tmp_path) as agent:
        others = [agent.nurse, agent.timer]
        agent.process.send_signal(2)
        assert agent.process.wait(timeout=PATIENCE_S) == 0
        for process in others:
            process.wait(timeout=PATIENCE_S)
        with pytest.raises(DeviceUnavailableError):
            agent.remote().identity()
