"""Reports how right the sources of knowledge were, by the trials of a search."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from optuna.trial import FrozenTrial

from nas.agreement import spearman_rho
from nas.search.models.belief import Believer
from nas.search.models.cost_model import best_scale
from nas.search.record.credibility import credible
from nas.search.record.trials import costs_of, indices_of, read_source_values
from nas.strategy import Problem

_MIN_TRIALS = 4
"""A rank correlation of fewer is nearly always 1, 0 or -1, whatever the source is worth."""


def source_sentences(problem: Problem, trials: Sequence[FrozenTrial]) -> list[str]:
    """Return a sentence for each source that the search has used: how right it was, and its weight.

    Args:
        problem: What is searched, with what is known from elsewhere.
        trials: Finished, with finite values, by number.
    """
    return [s for column in range(len(problem.objectives)) for s in _tell_objective(problem, column, trials)]


def _tell_objective(problem: Problem, column: int, trials: Sequence[FrozenTrial]) -> list[str]:
    objective = problem.objectives[column].name
    known = {by.name: len(by.values) for by in problem.knowledge if by.objective == objective}
    heard = [t for t in trials if known.keys() & read_source_values(t).get(objective, {}).keys()]
    if len(heard) < _MIN_TRIALS:
        return []
    names = [name for name in known if name in read_source_values(heard[0])[objective]]
    said = np.array([[read_source_values(t)[objective][name] for name in names] for t in heard])
    indices, costs = (
        indices_of(problem.space, heard),
        credible(costs_of(problem.objectives, heard))[:, column],
    )
    scores = best_scale(problem.space.encode(indices), costs).of(costs)
    believed = Believer(problem.space, indices, scores, said).weights
    weights = believed * said.std(axis=0) / max(scores.std(), 1e-12)
    return [
        f"{name} ({known[name]} architectures) on {objective}: Spearman {spearman_rho(words, costs):.2f} with what "
        f"{len(heard)} trials measured, weight {weight:.2f}."
        for name, words, weight in zip(names, said.T, weights, strict=True)
    ]
