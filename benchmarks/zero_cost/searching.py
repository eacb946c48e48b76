"""Searches on tables that know scores of untrained networks, or don't."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import optuna

from benchmarks.search.ledger import Ledger, SpentError
from benchmarks.search.methods import default_strategy
from benchmarks.zero_cost.scored import Scored
from nas.evaluation.zero_cost import SCORES
from nas.knowledge import Knowledge
from nas.objective import Measurement
from nas.search.loop import search
from nas.space import Architecture, FloatArray
from search_spaces.tabular import EvaluatedSpace

_NETWORK = ("synflow", "naswot", "jacov", "grad_norm")
KNOWN: dict[str, tuple[str, ...]] = {
    "nothing": (),
    "all scores": (*_NETWORK, "parameters", "macs"),
    "parameters, macs": ("parameters", "macs"),
    **{name: (name,) for name in SCORES},
    "all, shuffled": (*_NETWORK, "parameters", "macs"),
}
"""What a search knows, by the word for it."""


def print_searches(
    table: EvaluatedSpace,
    scored: Scored,
    seeds: int,
    budgets: Sequence[int],
    words: Sequence[str] = tuple(KNOWN),
) -> None:
    """Print the share of the true front's hypervolume after so many evaluations, means over seeds."""
    print(f"\n{table.name}, {len(scored.rows)} networks scored, {seeds} seeds\n")
    print(f"| known | {' | '.join(f'at {budget}' for budget in budgets)} |")
    print("|---|" + "---|" * len(budgets))
    for word in words:
        ratios = [
            _ratios(table, knowledge(table, scored, word, seed), seed, budgets) for seed in range(seeds)
        ]
        means, spread = np.mean(ratios, axis=0), np.std(ratios, axis=0)
        cells = [f"{m:.4f} ± {s:.4f}" for m, s in zip(means, spread, strict=True)]
        print(f"| {word} | {' | '.join(cells)} |", flush=True)


def knowledge(table: EvaluatedSpace, scored: Scored, word: str, seed: int) -> tuple[Knowledge, ...]:
    """Return what a search is told: scores, as costs."""
    rng, found = np.random.default_rng(seed), []
    for name in KNOWN[word]:
        if name in scored.values:
            values = scored.values[name]
            finite = np.isfinite(values)
            told = -values[finite]
            if word.endswith("shuffled"):
                told = rng.permutation(told)
            found.append(Knowledge(name, table.positions[scored.rows[finite]], told, "error"))
    return tuple(found)


def _ratios(
    table: EvaluatedSpace, known: tuple[Knowledge, ...], seed: int, budgets: Sequence[int]
) -> FloatArray:
    """Return the share of the true front's hypervolume that a search has after each budget."""
    ledger = Ledger(table, budgets[-1])
    problem = dataclasses.replace(table.problem(), knowledge=known)

    def evaluate(architecture: Architecture) -> Mapping[str, Measurement]:
        ledger.costs(table.space.indices([architecture]))
        return table.evaluate(architecture)

    study = optuna.create_study(
        directions=[objective.direction for objective in table.objectives],
        sampler=default_strategy().sampler(problem, seed),
    )
    with contextlib.suppress(SpentError):
        search(study, problem, evaluate, evaluations=budgets[-1], on_trial=lambda trial: None)
    return np.array([table.hypervolume_ratio(np.array(ledger.rows[:budget])) for budget in budgets])
