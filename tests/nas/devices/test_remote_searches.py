"""Searches over an agent that dies and a wire that fails: nothing is lost, nothing judged on half a measurement."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import optuna
import torch
from agents import RunningAgent, network, port_to_come_back_to, running_agent
from fakes import exact, grid_problem, with_objectives
from optuna.samplers import RandomSampler

from benchmarks.flaky_wire import Wire
from nas import LatencyMs, Measurement, Objective
from nas.devices import Device, Remote, Session, Timings
from nas.evaluation.candidate import OnnxCandidate
from nas.objectives import Bench
from nas.search.loop import search
from nas.search.record.trials import ARCHITECTURE, ERROR, LOST, complete_trials
from nas.space import Architecture
from nas.splits import Split

PROBLEM = with_objectives(
    grid_problem(), Objective("quality", "", "maximize"), Objective("latency_ms", "ms", "minimize")
)
WHOLE_REPEATS = 32
"""Two blocks in each of two sessions, of at least two rounds of four runs."""


def searched(device: Device, sleep: Callable[[float], None], evaluations: int) -> optuna.Study:
    """Search with latencies of a device."""
    objective = LatencyMs(device=device, short_seconds=0.001, long_seconds=0.001)
    calibration = {"reference_ms": 1e3, "device": objective.identity()}
    bench = Bench(Split(torch.zeros(1, 8), torch.zeros(1, dtype=torch.int64)), False, calibration)

    def evaluate(architecture: Architecture) -> Mapping[str, Measurement]:
        size = int(PROBLEM.space.indices([architecture]).sum())
        candidate = OnnxCandidate(network(8 + size))
        return {
            "quality": exact(float(size)),
            "latency_ms": objective.measure([candidate], bench)[0],
        }

    study = optuna.create_study(directions=["maximize", "minimize"], sampler=RandomSampler(seed=0))
    search(study, PROBLEM, evaluate, evaluations=evaluations, on_trial=lambda _: None, sleep=sleep)
    return study


def lost_after_checks(study: optuna.Study, evaluations: int) -> int:
    """Check that a search is whole and return how many trials were lost on the way."""
    finished = complete_trials(study)
    architectures = [trial.user_attrs[ARCHITECTURE] for trial in finished]
    assert len(architectures) == len(set(architectures)) == evaluations
    assert not [trial.user_attrs[ERROR] for trial in study.trials if ERROR in trial.user_attrs]
    assert all(t.user_attrs["measurements"]["latency_ms"]["repeats"] >= WHOLE_REPEATS for t in finished)
    return len([trial for trial in study.trials if LOST in trial.user_attrs])


class Deadly:
    """A device whose agent is killed in the middle of some of its sessions.

    Args:
        folder: Of the agent.
        stack: Stops it in the end.
        sessions: Numbers, from 0.
    """

    def __init__(self, folder: Path, stack: contextlib.ExitStack, sessions: Sequence[int]) -> None:
        self._folder, self._stack, self._sessions = folder, stack, sessions
        self._agent: RunningAgent = stack.enter_context(running_agent(folder, port=port_to_come_back_to()))
        self._number, self._calls = -1, 0
        self._device = self._agent.remote()

    def identity(self) -> str:
        return self._device.identity()

    @contextlib.contextmanager
    def open(self, models: Sequence[bytes], batch_size: int) -> Iterator[Session]:
        self._number, self._calls = self._number + 1, 0
        with self._device.open(models, batch_size) as self._session:
            yield self

    def time(self, order: Sequence[int], runs: int) -> Timings:
        self._calls += 1
        if self._number in self._sessions and self._calls == 2:
            self._agent.kill()
        return self._session.time(order, runs)

    def start_again(self, _seconds: float) -> None:
        again = running_agent(self._folder, port=self._agent.port)
        self._agent = self._stack.enter_context(again)


def test_a_search_whose_agent_is_killed_loses_nothing(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        device = Deadly(tmp_path, stack, [1, 4, 5])
        assert lost_after_checks(searched(device, device.start_again, 8), 8) == 3


def test_a_search_over_a_wire_that_loses_connections_loses_nothing(agent: RunningAgent) -> None:
    wire = Wire(agent.port, seed=1, lost=0.3)
    study = searched(Remote(wire.url, agent.token), lambda _: None, 6)
    wire.close()
    assert wire.resets > 0
    lost_after_checks(study, 6)
