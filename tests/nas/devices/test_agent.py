from __future__ import annotations

import ast
import contextlib
import hashlib
import http.client
import itertools
import json
import os
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from agents import RunningAgent, network, running_agent

import nas.devices.agent
from nas.devices.agent.models import ModelFolder
from nas.devices.agent.refusal import Refusal
from nas.devices.agent.sensors import Sensors
from nas.devices.agent.timing import take_times
from nas.devices.bundle import write_bundle
from nas.errors import DeviceUnavailableError, OutputError

FOLDER = Path(nas.devices.agent.__file__).parent
MODEL = network()
DIGEST = hashlib.sha256(MODEL).hexdigest()
ONES = {"models": [DIGEST], "order": [0], "runs": 1, "batch": 1, "threads": 1, "seconds": 1, "wait": 1}


def asked(
    agent: RunningAgent, method: str, path: str, body: Any = b"", headers: dict[str, str] | None = None
) -> tuple[int, dict[str, Any]]:
    """Send a request with the token and return the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", agent.port, timeout=10)
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    allowed = {"Authorization": f"Bearer {agent.token}", "Content-Length": str(len(body))}
    connection.request(method, path, body, allowed | (headers or {}))
    response = connection.getresponse()
    found = json.loads(response.read())
    connection.close()
    return response.status, found


def exchanged(agent: RunningAgent, raw: bytes) -> bytes:
    """Send bytes and return all that comes back."""
    with socket.create_connection(("127.0.0.1", agent.port), timeout=10) as wire:
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


def test_the_same_agent_gives_the_same_bundle(tmp_path: Path) -> None:
    for name in ("one.pyz", "two.pyz"):
        write_bundle(tmp_path / name)
    assert (tmp_path / "one.pyz").read_bytes() == (tmp_path / "two.pyz").read_bytes()
    with pytest.raises(OutputError, match="can't be written to"):
        write_bundle(tmp_path / "none" / "agent.pyz")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--max-model-mb", 0], "--max-model-mb is 0: it must be 1 or more"),
        (["--max-model-mb", 9, "--max-cache-mb", 8], "the largest model must fit"),
        (["--port", 70000], "between 0 and 65535"),
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
            wire = stack.enter_context(socket.create_connection(("127.0.0.1", agent.port), timeout=10))
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


@pytest.mark.parametrize("in_this_thread", [True, False])
def test_time_in_which_others_have_the_core_counts_for_a_network_of_several_threads_alone(
    monkeypatch: pytest.MonkeyPatch, in_this_thread: bool
) -> None:
    wall, own = itertools.count(0, 2), itertools.count()
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(wall)))
    monkeypatch.setattr(time, "thread_time", lambda: float(next(own)))
    runs: Any = [SimpleNamespace(run=lambda: None)]
    found = take_times(runs, [0, 0], 3, in_this_thread=in_this_thread)
    assert found["seconds"] == [[1.0 if in_this_thread else 2.0] * 3] * 2
    assert (found["cpu_share"] == 1) == in_this_thread


def test_one_measurement_at_a_time_and_the_others_are_told(agent: RunningAgent) -> None:
    long = ONES | {"order": [0] * 2, "runs": 100_000, "seconds": 2}
    with agent.remote().open([MODEL], 1):
        pass
    thread = threading.Thread(target=asked, args=(agent, "POST", "/v1/measure", long))
    thread.start()
    while not asked(agent, "GET", "/v1/device")[1]["busy"]:
        assert thread.is_alive()
    status, content = asked(agent, "POST", "/v1/measure", ONES | {"wait": 0})
    assert (status, content["error"]) == (503, "busy")
    thread.join()


def test_models_used_least_recently_make_room(tmp_path: Path) -> None:
    folder = ModelFolder(tmp_path / "models", 250)
    contents_ = [bytes([number]) * 100 for number in range(3)]
    digests = [hashlib.sha256(content).hexdigest() for content in contents_]
    for number, (digest, content) in enumerate(zip(digests, contents_, strict=True)):
        if number == 2:
            for digest_, when in ((digests[0], 2_000), (digests[1], 1_000)):
                os.utime(folder.path(digest_), (when, when))
        (tmp_path / "sent").write_bytes(content)
        with (tmp_path / "sent").open("rb") as stream:
            folder.store(digest, stream, len(content))
    assert folder.missing([*digests, digests[1]]) == [digests[1]]


def test_leftovers_of_an_agent_that_was_killed_are_cleared(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "abc.part").write_bytes(b"half")
    ModelFolder(tmp_path / "models", 1)
    assert not list((tmp_path / "models").iterdir())


@pytest.mark.parametrize("name", ["../x", "a" * 63, "A" * 64, "a" * 64 + "\n", ""])
def test_nothing_but_a_digest_names_a_model(tmp_path: Path, name: str) -> None:
    with pytest.raises(Refusal, match="named by its SHA-256"):
        ModelFolder(tmp_path / "models", 1).path(name)


def written(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


PI = {
    "proc/cpuinfo": "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd05\n\n"
    "processor\t: 3\nCPU implementer\t: 0x41\nCPU part\t: 0xd08\n\nModel\t: whatever\n",
    "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0",
    "sys/devices/system/cpu/cpu3/cpufreq/cpuinfo_max_freq": "1500000\n",
    "sys/devices/system/cpu/cpu3/cpufreq/scaling_cur_freq": "600000\n",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "51200\n",
    "sys/class/thermal/thermal_zone1/type": "battery\n",
    "sys/class/thermal/thermal_zone1/temp": "90000\n",
    "sys/class/thermal/cooling_device0/type": "thermal-cpufreq-0\n",
    "sys/class/thermal/cooling_device0/cur_state": "0\n",
    "sys/class/thermal/cooling_device1/type": "Fan\n",
    "sys/class/thermal/cooling_device1/cur_state": "3\n",
}


def test_it_tells_processor_warmth_and_clock_of_the_core_it_times_on(tmp_path: Path) -> None:
    sensors = Sensors([3], written(tmp_path, PI))
    assert sensors.processor() == "Raspberry Pi 4 Model B Rev 1.4, Cortex-A72"
    assert sensors.max_clock_mhz() == 1500
    assert sensors.state() == {"temperature_c": 51.2, "clock_mhz": 600, "throttled": False}
    assert Sensors([0], tmp_path).processor() == "Raspberry Pi 4 Model B Rev 1.4, Cortex-A55"


@pytest.mark.parametrize(
    ("files", "throttled"),
    [
        ({"sys/class/thermal/cooling_device0/cur_state": "2\n"}, True),
        ({"sys/class/thermal/cooling_device0/cur_state": "nonsense\n"}, None),
        ({"sys/devices/platform/soc/soc:firmware/get_throttled": "50000\n"}, False),
        ({"sys/devices/platform/soc/soc:firmware/get_throttled": "50004\n"}, True),
    ],
)
def test_it_tells_whether_it_is_slowed_down(
    tmp_path: Path, files: dict[str, str], throttled: bool | None
) -> None:
    assert Sensors([3], written(tmp_path, PI | files)).state()["throttled"] is throttled


def test_what_the_system_does_not_tell_is_none(tmp_path: Path) -> None:
    sensors = Sensors([0], tmp_path)
    assert sensors.processor()
    assert sensors.state() == {"temperature_c": None, "clock_mhz": None, "throttled": None}
    assert (sensors.max_clock_mhz(), sensors.throttle_count()) == (None, 0)


def test_ctrl_c_ends_all_of_its_processes(tmp_path: Path) -> None:
    with running_agent(tmp_path) as agent:
        others = [agent.nurse, agent.timer]
        agent.process.send_signal(2)
        assert agent.process.wait(timeout=10) == 0
        for process in others:
            process.wait(timeout=10)
        with pytest.raises(DeviceUnavailableError):
            agent.remote().identity()
