"""A sampler in another process, with other hash seeds, proposes the same from the same storage."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import optuna
from fakes import NearestSurrogate

from nas.search import LocalSearch, ResponseSurfaceSearch, SurrogateSearch, TwoStage
from nas.search.loop import search
from nas.search.record.storage import open_study
from nas.search.record.trials import distributions
from nas.strategy import Strategy
from nas.testing import toy_evaluate, toy_problem
from surrogates.gaussian_process import GaussianProcess

STRATEGIES: dict[str, Strategy] = {
    "surrogate search": SurrogateSearch(partial(GaussianProcess, restarts=1, iterations=10), num_startup=12),
    "local search": LocalSearch(),
    "smithson": ResponseSurfaceSearch(NearestSurrogate),
    "two stages": TwoStage(LocalSearch(4), (("width", "kernel"), ("depth", "second.*", "mode")), 12),
}
NUM_ASKED = 3


def proposals(strategy: Strategy, storage: optuna.storages.BaseStorage, name: str) -> list[dict[str, object]]:
    """Ask, so that the trials stay running; each time with a sampler made anew."""
    problem = toy_problem()
    asked = []
    for _ in range(NUM_ASKED):
        sampler = strategy.sampler(problem, 5)
        study = optuna.load_study(study_name=name, storage=storage, sampler=sampler)
        asked.append(dict(study.ask(distributions(problem.space)).params))
    return asked


def main(folder: str) -> None:
    """The other process: print the proposals of every strategy."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    found = {}
    for name, strategy in STRATEGIES.items():
        study = open_study(Path(folder) / f"{name}.db", name, toy_problem().objectives, None)
        found[name] = proposals(strategy, study._storage, name)
    print(json.dumps(found))


def test_another_process_proposes_the_same(tmp_path: Path) -> None:
    problem = toy_problem()
    here = {}
    for name, strategy in STRATEGIES.items():
        path = tmp_path / f"{name}.db"
        study = open_study(path, name, problem.objectives, strategy.sampler(problem, 5))
        search(study, problem, lambda a: toy_evaluate(problem, a), evaluations=16, on_trial=lambda _: None)
        copy = optuna.storages.InMemoryStorage()
        optuna.copy_study(from_study_name=name, from_storage=study._storage, to_storage=copy)
        here[name] = proposals(strategy, copy, name)
    environment = {**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    code = f"import test_loop_other_process as t; t.main({str(tmp_path)!r})"
    there = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parent,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert there.returncode == 0, there.stderr
    assert json.loads(there.stdout) == here
    assert all(len({json.dumps(p) for p in asked}) == NUM_ASKED for asked in here.values())
