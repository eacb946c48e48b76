"""An agent beside this process: what the wire costs, and what it survives.

    python -m benchmarks.remote_device
    python -m benchmarks.remote_device --agent http://10.0.0.7:8710 overhead    # token in NAS_AGENT_TOKEN

Four parts, all unless some are named. ``overhead``: seconds per candidate of a latency measured by the agent, beside
the same network here, and beside the seconds that the device measured. ``kill``: the agent is killed with SIGKILL at 20
moments while studies over two devices run. ``wire``: the same studies over a wire that is cut for seconds, slow, or
loses a fifth of its connections. ``hostile``: attacks, fuzzed requests, and malformed models. Without ``--agent`` one
is started here, which ``kill`` and ``wire`` need.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import sqlite3
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import optuna
import torch
from torch import nn

from benchmarks.flaky_wire import Wire
from benchmarks.hostile_requests import send_attacks, send_fuzzed_requests, send_malformed_models
from benchmarks.two_devices_study import URL
from nas import LatencyMs
from nas.devices import Device, OnnxRuntime, Remote, Session, Timings
from nas.devices.agent_link import TOKEN
from nas.devices.bundle import write_bundle
from nas.evaluation import SubnetCandidate
from nas.evaluation.onnx_export import export_onnx
from nas.objectives import Bench
from nas.search.record.trials import ARCHITECTURE, ERROR, LOST, MEASUREMENTS, complete_trials
from nas.splits import Split

_PARTS = ("overhead", "kill", "wire", "hostile")
_HERE = Path(__file__).parent
_STUDY = _HERE / "two_devices_study.py"
_KILLS_PER_STUDY = 10
_LEAST_REPEATS = 32
"""Two sessions of two blocks of two rounds of four runs: no measurement has fewer."""


class LocalAgent:
    """An agent of this machine, which can be killed and started again on its port.

    Args:
        folder: Folder of its own.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.bundle, self.port = folder, folder / "agent.pyz", 0
        write_bundle(self.bundle)
        self.start()

    def start(self) -> None:
        """Start it, and wait until it listens."""
        words = ["--folder", str(self.folder / "kept"), "--port", str(self.port), "--max-seconds", "20"]
        self.process = subprocess.Popen(
            [sys.executable, str(self.bundle), *words], stderr=subprocess.PIPE, text=True, cwd=self.folder
        )
        assert self.process.stderr is not None
        said = []
        for line in self.process.stderr:
            said.append(line)
            if "listening" in line:
                self.port = int(line.rpartition(":")[2])
                threading.Thread(target=self.process.stderr.read, daemon=True).start()
                return
        raise RuntimeError(f"the agent doesn't start: {''.join(said)}")

    def kill(self) -> None:
        """End it as a cut power supply does."""
        self.process.kill()
        self.process.wait()

    @property
    def token(self) -> str:
        """Its token."""
        return (self.folder / "kept" / "token").read_text().strip()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"


@dataclass(frozen=True)
class Watched:
    """A device, and the seconds that it measured."""

    device: Device
    seconds: list[float] = field(default_factory=list)

    def identity(self) -> str:
        """Return the device's."""
        return self.device.identity()

    @contextlib.contextmanager
    def open(self, models: Sequence[bytes], batch_size: int) -> Iterator[Session]:
        """Open the device."""
        with self.device.open(models, batch_size) as session:
            yield _WatchedSession(session, self.seconds)


@dataclass(frozen=True)
class _WatchedSession:
    session: Session
    seconds: list[float]

    def time(self, order: Sequence[int], runs: int) -> Timings:
        found = self.session.time(order, runs)
        self.seconds.append(float(found.seconds.sum()) * (runs + 1) / runs)  # one run of a turn is unnoticed
        return found


def overhead(device: Remote, count: int) -> None:
    """Print seconds per candidate, here and there."""
    torch.manual_seed(0)
    rng = random.Random(0)
    candidates = [SubnetCandidate(_network(rng.choice((8, 16, 24, 32))), (3, 32, 32)) for _ in range(count)]
    split = Split(torch.zeros(1, 3, 32, 32), torch.zeros(1, dtype=torch.int64))
    watched = {"here": Watched(OnnxRuntime()), "there": Watched(device)}
    objectives = {name: LatencyMs(device=place) for name, place in watched.items()}
    benches = {name: Bench(split, False, o.calibrate()) for name, o in objectives.items()}
    rows: dict[str, list[float]] = {name: [] for name in watched}
    for place in watched.values():
        place.seconds.clear()
    for candidate in candidates:
        assert candidate.onnx_model  # exported before the clock starts
        for name, objective in objectives.items():  # in turns, so that a slow minute meets both
            begin = time.perf_counter()
            objective.measure([candidate], benches[name])
            rows[name].append(time.perf_counter() - begin)
    measuring = sum(watched["here"].seconds) / count
    for name, place in watched.items():
        print(
            f"{name:5}  {statistics.median(rows[name]) * 1e3:7.1f} ms per candidate (median), "
            f"{min(rows[name]) * 1e3:7.1f} (fastest); measuring {sum(place.seconds) / count * 1e3:7.1f} ms (mean)"
        )
    for name, of in (("medians", statistics.median), ("fastest", min)):
        there, here = of(rows["there"]), of(rows["here"])
        print(
            f"{name}: {there / here:.2f} times as long there, {(there - here) / measuring:+.2f} of the measuring"
        )


def _network(width: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.ReLU(), nn.Conv2d(width, width, 3))


def run_study(out: Path, url: str, token: str) -> subprocess.Popen[bytes]:
    """Begin a study over two devices from the command line."""
    shutil.rmtree(out, ignore_errors=True)
    command = "import sys; from nas.cli import main; sys.argv[0] = 'nas'; main()"
    environment = {**os.environ, URL: url, TOKEN: token, "OMP_NUM_THREADS": "1"}
    with (out.parent / f"{out.name}.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-c", command, "run", str(_STUDY), "--out", str(out)],
            stdout=log,
            stderr=log,
            env=environment,
        )


def report(out: Path, code: int) -> None:
    """Print what became of a study's trials."""
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{out / 'study.db'}")
    finished = complete_trials(study)
    architectures = [t.user_attrs[ARCHITECTURE] for t in finished]
    failed = [t for t in study.trials if ERROR in t.user_attrs]
    lost = [t for t in study.trials if LOST in t.user_attrs]
    stored = [m for t in finished for m in t.user_attrs[MEASUREMENTS].items()]
    repeats = [value["repeats"] for name, value in stored if name.startswith("latency")]
    print(
        f"  exit code {code}: {len(finished)} evaluated, {len(failed)} FAILED, "
        f"{len(architectures) - len(set(architectures))} doubled, {len(lost)} lost and proposed again; "
        f"{sum(r < _LEAST_REPEATS for r in repeats)} of {len(repeats)} latencies from fewer than "
        f"{_LEAST_REPEATS} runs",
        flush=True,
    )
    for trial in failed:
        print(f"    {trial.user_attrs[ERROR]}")


def kill(agent: LocalAgent, out: Path, times: int) -> None:
    """Kill the agent at random moments while studies run, ten times in each."""
    rng, kills = random.Random(1), 0
    while kills < times:
        name = f"kill{kills}"
        process, progress, killed = run_study(out / name, agent.url, agent.token), -1, 0
        while process.poll() is None:
            time.sleep(0.2)
            found = _count_finished(out / name)
            if found > progress and killed < _KILLS_PER_STUDY:  # it got on since the last time
                time.sleep(rng.uniform(0.0, 3.0))
                agent.kill()
                time.sleep(rng.uniform(0.0, 1.0))
                agent.start()
                progress, killed = found, killed + 1
        kills += killed
        print(f"agent killed {killed} times during a study", flush=True)
        report(out / name, process.returncode)


def _count_finished(out: Path) -> int:
    """Return how many trials of a run are finished; -1 before there is a record."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{out / 'study.db'}?mode=ro", uri=True)) as record:
            return int(record.execute("SELECT COUNT(*) FROM trials WHERE state = 'COMPLETE'").fetchone()[0])
    except sqlite3.Error:
        return -1


def wire(agent: LocalAgent, out: Path) -> None:
    """Run studies over wires that fail."""
    wires = {
        "cut for three seconds, again and again": Wire(agent.port),
        "150 ms slow in each direction": Wire(agent.port, delay_s=0.15),
        "a fifth of the connections reset": Wire(agent.port, lost=0.2),
    }
    for number, (name, one) in enumerate(wires.items()):
        process = run_study(out / f"wire{number}", one.url, agent.token)
        while process.poll() is None:
            time.sleep(3.0)
            one.is_cut = number == 0 and not one.is_cut
        one.is_cut = False
        one.close()
        print(f"wire {name}: {one.connections} connections, {one.resets} reset", flush=True)
        report(out / f"wire{number}", process.returncode)


def hostile(device: Remote, token: str, folder: Path | None, requests: int, models: int) -> None:
    """Print what the agent answers to attacks."""
    layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 4))
    model = export_onnx(layers, (3, 8, 8))
    before = _outside(folder)
    for name, answer in send_attacks(device.url, token, model).items():
        print(f"{name}: {answer}")
    print(
        f"{requests} fuzzed requests: {dict(send_fuzzed_requests(device.url, token, model, requests).most_common())}"
    )
    print(f"{models} malformed models: {dict(send_malformed_models(device, model, models).most_common())}")
    facts = device.facts()
    print(f"the agent answers: {facts.processor}, ONNX Runtime {facts.onnxruntime}, process {facts.instance}")
    print(f"written outside of its folder: {sorted(_outside(folder) - before) or 'nothing'}")


def _outside(folder: Path | None) -> set[str]:
    """Return the files around an agent's folder of models: where it runs, and in all that it keeps."""
    found = [] if folder is None else [path for path in folder.rglob("*") if path.parent.name != "models"]
    return {str(path) for path in found}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", choices=[*_PARTS, []])
    parser.add_argument("--agent")
    parser.add_argument("--candidates", type=int, default=40)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--models", type=int, default=500)
    parser.add_argument("--out", type=Path, default=Path("runs/remote"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    parts = arguments.parts or _PARTS
    local = None if arguments.agent else LocalAgent(arguments.out.absolute() / "agent")
    try:
        token = os.environ[TOKEN] if local is None else local.token
        device = Remote(arguments.agent if local is None else local.url, token)
        print(device.identity())
        if "overhead" in parts:
            overhead(device, arguments.candidates)
        if "kill" in parts and local is not None:
            kill(local, arguments.out, arguments.kills)
        if "wire" in parts and local is not None:
            wire(local, arguments.out)
        if "hostile" in parts:
            folder = None if local is None else local.folder
            hostile(device, token, folder, arguments.requests, arguments.models)
    finally:
        if local is not None:
            local.process.terminate()
            local.process.wait()


if __name__ == "__main__":
    main()
