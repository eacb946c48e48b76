"""A search by four workers, one of which judges wrongly, with the guard of the search and without it.

    python -m benchmarks.broken_worker --seeds 0 1 2 3 4 5 6 7 8 9

The table of perceptrons on the digits, error against cost. The workers are pretended: what is submitted goes to the
next one, and ends in random order. A broken worker tells a random error of 0 to 1, or 0.15 less than there is, or is as
good as the others until the search is half over. The hypervolume is that of the true values of what the search believes
to be the front, as a share of the true front's.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import optuna

from nas.executors import Failed, Job, Lost, Outcome, Persistent, Work
from nas.executors.serial import do_here
from nas.objective import Measurement
from nas.search import SurrogateSearch, guard
from nas.search.loop import Evaluate, search_with
from nas.search.record.credibility import front_of
from nas.search.record.trials import complete_trials, costs_of, indices_of, is_measured_later
from nas.space import Architecture
from search_spaces.digits_mlp import digits_mlp_table
from search_spaces.tabular import EvaluatedSpace
from surrogates.gaussian_process import GaussianProcess

NUM_WORKERS, EVALUATIONS = 4, 60
Break = Callable[[float, float, np.random.Generator], float]
"""Returns the error that is told, of the true one and the share of the search that is over."""
KINDS: dict[str, Break] = {
    "none": lambda error, _, __: error,
    "random": lambda _, __, rng: rng.uniform(),
    "too good": lambda error, _, __: error - 0.15,
    "random, second half": lambda error, over, rng: error if over < 0.5 else rng.uniform(),
}


class _EndedError(Exception):
    """A worker ended itself."""


class Crew:
    """Workers that judge by a table, one of them wrongly.

    Args:
        table: Tells what is right.
        breaks: What the broken one tells.
        rng: Draws what ends next, and what the broken one draws.
    """

    capacity = NUM_WORKERS

    def __init__(self, table: EvaluatedSpace, breaks: Break, rng: np.random.Generator) -> None:
        self._table, self._breaks, self._rng = table, breaks, rng
        self._names = [f"worker {number}" for number in range(NUM_WORKERS)]
        self._free = list(range(NUM_WORKERS))
        self._held: list[tuple[int, Job[Evaluate]]] = []
        self.here = "here"
        self.judged = 0

    def submit(self, job: Job[Evaluate]) -> None:
        """Give a job to the worker that has been free longest."""
        self._held.append((self._free.pop(0), job))

    def collect(self, timeout_s: float | None) -> Sequence[Outcome]:
        """Let a random job end."""
        if timeout_s is not None or not self._held:
            return []
        seat, job = self._held.pop(int(self._rng.integers(len(self._held))))
        self._free.append(seat)
        is_broken = self._names[seat] == "worker 0"
        self.here = self._names[seat]
        try:
            outcome = do_here(job, self._judge if is_broken else self._table.evaluate)
        finally:
            self.here = "here"
        if isinstance(outcome, Failed) and isinstance(outcome.error, _EndedError):
            self._names[seat] += ", replaced"
            return [Lost(job.key, "it ended itself")]
        return [outcome]

    def close(self) -> None:
        """Nothing is left."""

    def end(self) -> None:
        """Do in a worker's place what ends its process."""
        raise _EndedError

    def _judge(self, architecture: Architecture) -> dict[str, Measurement]:
        self.judged += 1
        right = self._table.evaluate(architecture)
        over = self.judged * NUM_WORKERS / EVALUATIONS
        error = self._breaks(right["error"].value, over, self._rng)
        return {**right, "error": replace(right["error"], value=error)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(10)))
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    for kind in KINDS:
        for guarded in (False, True):
            found = np.array([run_search(kind, guarded, seed) for seed in arguments.seeds])
            front, again, wrong, judged = found.T
            print(
                f"broken worker: {kind:20s} {'guarded    ' if guarded else 'not guarded'} true hypervolume "
                f"{front.mean():.3f} ± {statistics.stdev(front):.3f}, judged again {again.mean():.1f}, wrong in the "
                f"record {wrong.mean():.1f} of {judged.mean():.1f} that it told",
                flush=True,
            )


def run_search(kind: str, guarded: bool, seed: int) -> tuple[float, int, int, int]:
    """Search; return the share of the front, the extra judgements, the wrong values in the record, and those told."""
    table = digits_mlp_table()
    crew = Crew(table, KINDS[kind], np.random.default_rng(seed))
    guard.this_worker, guard.end_worker = lambda: crew.here, crew.end
    extra = list[Architecture]()

    def at_home(architecture: Architecture) -> dict[str, Measurement]:
        extra.append(architecture)
        return table.evaluate(architecture)

    def work_of(architecture: Architecture) -> Work[Evaluate]:
        return lambda evaluate: evaluate(architecture)

    problem = table.problem()
    study = optuna.create_study(
        directions=[o.direction for o in problem.objectives],
        sampler=SurrogateSearch(GaussianProcess, num_startup=16, batch_size=4).sampler(problem, seed),
    )
    executor = Persistent(crew, at_home if guarded else None)
    search_with(executor, study, problem, work_of, evaluations=EVALUATIONS, on_trial=lambda _: None)
    trials = complete_trials(study)
    told = costs_of(problem.objectives, trials)
    rows = table.rows(indices_of(problem.space, trials))
    wrong = int((np.abs(told - table.values[rows])[:, 0] > 1e-9).sum())
    front = table.hypervolume_ratio(rows[front_of(study, problem.objectives, told)])
    again = sum(is_measured_later(study, trial.number, 0) for trial in trials)
    return front, len(extra) + again, wrong, crew.judged


if __name__ == "__main__":
    main()
