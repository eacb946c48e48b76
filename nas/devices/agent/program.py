"""The agent's command line: ``python agent.pyz --folder ... --port 8710``."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import functools
import os
import platform
import secrets
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, NoReturn

from nas.devices.agent import OLDEST_PROTOCOL, PROTOCOL, VERSION
from nas.devices.agent.bench import TimingBench
from nas.devices.agent.models import ModelFolder
from nas.devices.agent.nursery import NurseGoneError, Nursery
from nas.devices.agent.refusal import Refusal
from nas.devices.agent.sensors import Sensors
from nas.devices.agent.server import AgentServer, Desk
from nas.devices.agent.timing import Timer

_MIB = 1 << 20
_SHORTEST_TOKEN = 16
"""Characters; 16 hexadecimal digits are 64 random bits, more than anybody can try across a network."""
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class UsageError(Exception):
    """The agent can't start, for a reason that a user can put right."""


def make_parser(program: str = "agent.pyz") -> argparse.ArgumentParser:
    """Return what reads the command line."""
    parser = argparse.ArgumentParser(
        prog=program,
        description="Time networks on this device for runs elsewhere.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 is all of them")
    add("--port", type=int, default=8710, help="0 is any free one")
    add("--folder", type=Path, default=Path("~/.nas-agent"), help="holds everything that the agent keeps")
    add("--token-file", type=Path, help="holds the token; one is made in the folder otherwise")
    add("--name", default=platform.node() or "device", help="shown beside the device")
    add(
        "--core",
        type=int,
        help="core to time on; otherwise the last two in turns, where they are of one kind",
    )
    add("--max-model-mb", type=int, default=256, help="largest model that is taken")
    add("--max-cache-mb", type=int, default=1024, help="models that are kept, the least used go first")
    add(
        "--max-memory-mb",
        type=int,
        help="of the process that runs networks; three quarters of the device's otherwise",
    )
    add("--max-seconds", type=int, default=120, help="longest measurement")
    add("--version", action="version", version=f"nas agent {VERSION}, protocol {PROTOCOL}")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the agent until it is stopped; return its exit code."""
    return run_agent(make_parser().parse_args(arguments))


def run_agent(options: argparse.Namespace) -> int:
    """Run the agent until it is stopped; return its exit code."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        _check(options)
        folder = options.folder.expanduser()
        with _own(folder):
            return _serve(options, folder)
    except (UsageError, Refusal, OSError) as error:
        _say(str(error))
        return 2
    except NurseGoneError:
        _say("the process that begins others was killed; start the agent again")
        return 1
    except KeyboardInterrupt:
        return 0


def _serve(options: argparse.Namespace, folder: Path) -> int:
    token = _token(options.token_file, folder)
    cores = _cores(options.core)
    models = ModelFolder(folder / "models", options.max_cache_mb * _MIB)
    work = Timer(cores, _memory_bytes(options.max_memory_mb), options.max_cache_mb * _MIB, _empty(folder))
    nursery = Nursery(work)  # before there are threads
    _leave(cores)
    sensors = Sensors(cores)
    bench = TimingBench(nursery, models, sensors, options.max_seconds, _say)
    bench.begin()
    describe = functools.partial(_describe_agent, options, bench, sensors)
    desk = Desk(token, bench, models, options.max_model_mb * _MIB, os.cpu_count() or 1, describe)
    with AgentServer((options.host, options.port), desk, _say) as server:
        _announce(options, server, sensors, bench, cores)
        server.serve_forever()
    return 1  # it was shut down because its nurse is gone


def _describe_agent(options: argparse.Namespace, bench: TimingBench, sensors: Sensors) -> dict[str, Any]:
    """Return what the agent tells of itself."""
    return {
        "agent": VERSION,
        "protocol": PROTOCOL,
        "oldest_protocol": OLDEST_PROTOCOL,
        "name": options.name,
        "instance": bench.instance,
        "processor": sensors.processor(),
        "machine": platform.machine(),
        "max_clock_mhz": sensors.max_clock_mhz(),
        "cores": os.cpu_count() or 1,
        "onnxruntime": bench.runtime["onnxruntime"],
        "python": bench.runtime["python"],
        "busy": bench.is_busy,
        "state": sensors.state(),
        "max_model_bytes": options.max_model_mb * _MIB,
        "max_cache_bytes": options.max_cache_mb * _MIB,
        "max_seconds": options.max_seconds,
    }


def _check(options: argparse.Namespace) -> None:
    for name in ("max_model_mb", "max_cache_mb", "max_seconds"):
        if getattr(options, name) < 1:
            raise UsageError(f"--{name.replace('_', '-')} is {getattr(options, name)}: it must be 1 or more.")
    if options.max_model_mb > options.max_cache_mb:
        raise UsageError("--max-cache-mb is less than --max-model-mb: the largest model must fit.")
    if not 0 <= options.port < 65536:
        raise UsageError(f"--port is {options.port}: it must be between 0 and 65535.")
    try:
        options.host.encode("idna")  # as a socket does
    except UnicodeError:
        raise UsageError(f"--host is {options.host}: it must be an address, or the name of a host.") from None


def _token(file: Path | None, folder: Path) -> str:
    """Return the token of a file, or one that is made and shown once."""
    path = file or folder / "token"
    if file is None and not path.exists():
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
            stream.write(secrets.token_urlsafe(32) + "\n")
        _say(f"made the token {path.read_text().strip()} and keep it in {path}; it isn't shown again")
    token = path.read_text(errors="replace").strip()
    if len(token) < _SHORTEST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise UsageError(
            f"{path} holds no token: one line of {_SHORTEST_TOKEN} or more letters, digits, '-' and '_' is expected."
        )
    return token


def _cores(wanted: int | None) -> list[int]:
    """Return the cores to time on. Always the same ones, because those of a device may differ."""
    allowed = os.sched_getaffinity(0) if sys.platform == "linux" else set(range(os.cpu_count() or 1))
    if wanted is not None and wanted not in allowed:
        raise UsageError(f"--core is {wanted}: it must be one of {sorted(allowed)}.")
    if wanted is not None:
        return [wanted]
    last, *others = sorted(allowed)[:-3:-1]
    return [last, *(core for core in others if _kind(core) == _kind(last))]


def _kind(core: int) -> tuple[object, ...]:
    sensors = Sensors([core])
    return sensors.processor(), sensors.max_clock_mhz()


def _leave(cores: Sequence[int]) -> None:
    """Keep the agent's own work away from the cores that are timed on, where there are others."""
    if sys.platform == "linux":
        allowed = os.sched_getaffinity(0)
        os.sched_setaffinity(0, allowed - set(cores) or allowed)


def _memory_bytes(megabytes: int | None) -> int:
    if megabytes is not None:
        return max(megabytes, 64) * _MIB
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * 3 // 4


def _empty(folder: Path) -> Path:
    """Return a folder without anything that a model could name."""
    path = folder / "empty"
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(mode=0o500)
    return path.resolve()


@contextlib.contextmanager
def _own(folder: Path) -> Any:
    """Make the folder, and keep other agents out of it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / "lock").open("a") as lock:
        _take(lock, folder)
        yield


def _take(lock: IO[str], folder: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UsageError(f"another agent uses {folder}: give this one a --folder of its own.") from None


def _announce(
    options: argparse.Namespace,
    server: AgentServer,
    sensors: Sensors,
    bench: TimingBench,
    cores: Sequence[int],
) -> None:
    runtime = f"ONNX Runtime {bench.runtime['onnxruntime']}"
    _say(f"{sensors.processor()} ({platform.machine()}), core {' and '.join(map(str, cores))}, {runtime}")
    if options.host not in _LOOPBACK:
        _say(
            "what is sent here isn't encrypted, nor is the token: use networks that you trust, or an SSH tunnel"
        )
    host = f"[{options.host}]" if ":" in options.host else options.host
    _say(f"listening on http://{host}:{server.server_port}")


def _interrupt(_number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _say(sentence: str) -> None:
    """Tell whoever watches; where nobody does any more, go on."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(f"nas agent: {sentence}\n")
        sys.stderr.flush()
