"""What is compared: our search, and what a user would pick instead, each with its documented defaults.

All see the same choices as categories. Only ours can be told what is counted; the others learn every objective.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, final
from unittest import mock

import numpy as np
import optuna
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, TPESampler
from pymoo.core.mixed import MixedVariableGA
from pymoo.core.problem import ElementwiseProblem
from pymoo.core.variable import Choice as PymooChoice
from pymoo.operators.survival.rank_and_crowding import RankAndCrowding
from pymoo.optimize import minimize

from benchmarks.search.ledger import Ledger
from nas import pareto
from nas.choices import choice
from nas.objective import Measurement
from nas.search import LocalSearch, ResponseSurfaceSearch, SurrogateSearch
from nas.search.loop import search
from nas.search.models.cost_model import CostModel
from nas.search.models.proposals import neighbours
from nas.search.record.trials import distributions
from nas.search.strategies import batch, surrogate_sampler
from nas.space import Architecture, Condition, FloatArray, IntArray, SearchSpace
from nas.strategy import MakeSurrogate, Prediction, Problem, Strategy, Surrogate
from search_spaces.tabular import EvaluatedSpace
from surrogates.boosted_trees import BoostedTrees
from surrogates.cross_validated import CrossValidated
from surrogates.gaussian_process import GaussianProcess
from surrogates.mixture import Mixture
from surrogates.mlp_ensemble import MlpEnsemble

Run = Callable[[Ledger, int], None]
"""Asks the ledger, with a seed, until the ledger raises or there is nothing left to ask."""


@dataclass(frozen=True)
class Method:
    """One way to search.

    Args:
        title: For reports.
        run: Does it.
        patience: Evaluations that its own time makes bearable; None for any number.
        ours: Whether its results depend on this repository's code.
    """

    title: str
    run: Run
    patience: int | None = None
    ours: bool = False


def ours(
    strategy: Callable[[], Strategy], ledger: Ledger, seed: int, *, counted: bool = True, ordered: bool = True
) -> None:
    """Run a strategy of ours, or anything else with that interface, in the real search loop.

    Args:
        strategy: Makes it.
        ledger: Answers, and raises when all evaluations are spent.
        seed: Seed of the strategy.
        counted: Whether it may know the counted objectives beforehand.
        ordered: Whether options that are numbers remain so; else they are categories, as the peers see them.
    """
    table = ledger.table if counted else ledger.table.hide_counted()
    table = table if ordered else dataclasses.replace(table, space=_name_options(table.space))
    problem = table.problem()

    def evaluate(architecture: Architecture) -> Mapping[str, Measurement]:
        ledger.costs(table.space.indices([architecture]))
        return table.evaluate(architecture)

    study = optuna.create_study(
        directions=[objective.direction for objective in table.objectives],
        sampler=strategy().sampler(problem, seed),
    )
    search(study, problem, evaluate, evaluations=ledger.evaluations, on_trial=lambda trial: None)


def _name_options(space: SearchSpace) -> SearchSpace:
    """Return the same space with options that are strings."""
    return SearchSpace(
        tuple(choice(c.name, *map(str, c.options)) for c in space.choices),
        {
            name: tuple(
                tuple(Condition(c.choice, tuple(map(str, c.options))) for c in alternative)
                for alternative in alternatives
            )
            for name, alternatives in space.conditions.items()
        },
    )


def default_strategy() -> Strategy:
    """Return what a study gets that asks for nothing else."""
    return SurrogateSearch(Mixture)


def random(ledger: Ledger, seed: int) -> None:
    """Draw every choice's option at random."""
    rng = np.random.default_rng(seed)
    while True:
        ledger.costs(ledger.table.space.sample_indices(1, rng))


def optuna_sampler(make: Callable[[int], BaseSampler], ledger: Ledger, seed: int) -> None:
    """Ask and tell an Optuna study in memory."""
    table, space = ledger.table, ledger.table.space
    study = optuna.create_study(directions=["minimize"] * len(table.objectives), sampler=make(seed))
    while True:
        trial = study.ask(distributions(space))
        study.tell(trial, ledger.costs(space.indices([trial.params]))[0].tolist())


def pymoo_nsga2(ledger: Ledger, seed: int) -> None:
    """Run pymoo's NSGA-II on categories, as its documentation on mixed variables says."""
    algorithm = MixedVariableGA(pop_size=20, survival=RankAndCrowding())
    minimize(_PymooTable(ledger), algorithm, ("n_gen", 10**6), seed=seed)


class _PymooTable(ElementwiseProblem):  # type: ignore[misc] # pymoo has no types
    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        choices = ledger.table.space.choices
        super().__init__(
            vars={c.name: PymooChoice(options=np.arange(len(c.options))) for c in choices},
            n_obj=len(ledger.table.objectives),
        )

    def _evaluate(self, x: Mapping[str, Any], out: dict[str, Any], *_: object, **__: object) -> None:
        positions = [int(x[choice.name]) for choice in self._ledger.table.space.choices]
        out["F"] = self._ledger.costs(np.array([positions], dtype=np.int64))[0]


def pareto_local_search(ledger: Ledger, seed: int) -> None:
    """Step by step, evaluate an unknown neighbour of a member of the front, both drawn at random.

    It starts from ten random architectures, and from another one whenever the front's neighbours are all known. Looking
    at one neighbour at a time leaves a member as soon as it is dominated; with all neighbours of a member at once, as
    it is mostly written, it needs about half as many evaluations again.
    """
    rng = np.random.default_rng(seed)
    space = ledger.table.space
    front = space.sample_indices(10, rng)
    known = {row.tobytes() for row in front}
    costs = ledger.costs(front)
    exhausted: set[bytes] = set()
    while True:
        best = pareto.non_dominated(costs)
        front, costs = front[best], costs[best]
        members = [row for row in front if row.tobytes() not in exhausted]
        if not members:
            new = space.sample_indices(1, rng)
        else:
            member = members[rng.integers(len(members))]
            near = [row for row in neighbours(space, member) if row.tobytes() not in known]
            if not near:
                exhausted.add(member.tobytes())
                continue
            new = near[rng.integers(len(near))][None]
        known.add(new.tobytes())
        front, costs = np.concatenate([front, new]), np.concatenate([costs, ledger.costs(new)])


@final
class Certain:
    """The default surrogate without its uncertainty: every draw is the mean."""

    def __init__(self, space: SearchSpace) -> None:
        self._inner = Mixture(space)

    def fit(self, indices: IntArray, costs: FloatArray, rng: np.random.Generator) -> None:
        """Fit the surrogate within."""
        self._inner.fit(indices, costs, rng)

    def predict(self, indices: IntArray) -> Prediction:
        """Predict, and be sure of it."""
        mean = self._inner.predict(indices).mean
        return Prediction(mean, np.full_like(mean, 1e-9))

    def sample(self, indices: IntArray, count: int, rng: np.random.Generator) -> FloatArray:
        """Return the mean ``count`` times."""
        return np.tile(self._inner.predict(indices).mean, (count, 1, 1))


def _with_rules(rules: Mapping[str, int], ledger: Ledger, seed: int) -> None:
    with mock.patch.multiple(batch, **rules):
        ours(default_strategy, ledger, seed)


def _run_with_knowledge(count: int, ledger: Ledger, seed: int) -> None:
    """Run ours with a model that also knows so many random architectures, for which nothing is paid."""
    table = ledger.table
    assert isinstance(table, EvaluatedSpace), "only what is listed can be told"
    free = np.random.default_rng(0).choice(len(table.costs), min(count, len(table.costs)), replace=False)

    def model(
        problem: Problem, surrogate: Surrogate, indices: IntArray, costs: FloatArray, rng: np.random.Generator
    ) -> CostModel:
        rows = np.concatenate([indices, table.positions[free]])
        made = CostModel(problem, surrogate, rows, np.concatenate([costs, table.costs[free]]), rng)
        made.front = indices[problem.front(costs)]
        return made

    with mock.patch.object(surrogate_sampler, "CostModel", model):
        ours(default_strategy, ledger, seed)


def _make_ruled_method(title: str, **rules: int) -> Method:
    return Method(title, functools.partial(_with_rules, rules), ours=True)


def _variant(title: str, surrogate: MakeSurrogate = Mixture, **settings: int) -> Method:
    return Method(
        title,
        functools.partial(ours, functools.partial(SurrogateSearch, surrogate, **settings)),
        patience=200,
        ours=True,
    )


ABLATION: dict[str, Method] = {
    "only-gp": _variant("Gaussian process alone", GaussianProcess),
    "only-mlp": _variant("perceptrons alone", MlpEnsemble),
    "only-trees": _variant("boosted trees alone", BoostedTrees),
    "cross-validated": _variant("chosen by cross-validation", CrossValidated),
    "certain": _variant("without uncertainty", Certain),
    "batch-4": _variant("batches of 4", batch_size=4),
    "batch-16": _variant("batches of 16", batch_size=16),
    "startup-6": _variant("first fit after 6 evaluations", num_startup=6),
    "no-turns": _make_ruled_method("neither turns nor exploration", _MIN_OBJECTIVES_FOR_TURNS=99),
    "no-exploration": _make_ruled_method("no exploration", _EXPLORED_EVERY=10**6),
    "always": _make_ruled_method(
        "turns and exploration with any number of objectives", _MIN_OBJECTIVES_FOR_TURNS=1
    ),
    "told": Method(
        "told 1,500 architectures", functools.partial(_run_with_knowledge, 1_500), patience=200, ours=True
    ),
}
"""Ours, with one part changed."""

METHODS: dict[str, Method] = {
    "ours": Method("ours", functools.partial(ours, default_strategy), ours=True),
    "ours-measured": Method(
        "ours, nothing counted", functools.partial(ours, default_strategy, counted=False), ours=True
    ),
    "ours-named": Method(
        "ours, options unordered", functools.partial(ours, default_strategy, ordered=False), ours=True
    ),
    "smithson": Method(
        "ours, ResponseSurfaceSearch",
        functools.partial(ours, functools.partial(ResponseSurfaceSearch, MlpEnsemble)),
        ours=True,
    ),
    "local": Method("ours, LocalSearch", functools.partial(ours, LocalSearch), ours=True),
    "random": Method("random", random),
    "pls": Method("Pareto local search", pareto_local_search),
    "nsga2": Method("Optuna NSGA-II", functools.partial(optuna_sampler, lambda s: NSGAIISampler(seed=s))),
    "pymoo": Method("pymoo NSGA-II", pymoo_nsga2),
    "tpe": Method(
        "Optuna TPE", functools.partial(optuna_sampler, lambda s: TPESampler(seed=s)), patience=200
    ),
    "gp": Method(
        "Optuna GPSampler", functools.partial(optuna_sampler, lambda s: GPSampler(seed=s)), patience=100
    ),
    **ABLATION,
}
