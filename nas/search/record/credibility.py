"""Values that are too good to be true, and what is done about them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from optuna.study import Study
from optuna.trial import FrozenTrial

from nas import pareto
from nas.objective import Objective, excess_over
from nas.search.record.trials import costs_of, soft_limits
from nas.space import FloatArray

FAR_OUT = 1000.0
"""Chosen: sizes and times of one space lie within two or three orders of magnitude. A value ten times nearer may be
real, such as the latency of a network that swaps; one ten times farther off would hide all others first."""
_UNHEARD_OF = 1e6
"""For rates that are maximised, which may span several orders of magnitude. Chosen likewise."""


def front_of(study: Study, objectives: Sequence[Objective], costs: FloatArray) -> NDArray[np.int64]:
    """Return the rows of ``(n, num_objectives)`` costs that are on the front, within the study's soft limits.

    Rows with a value too good to be true are on no front.
    """
    return np.flatnonzero(credible_front(costs, excess_over(soft_limits(study), objectives, costs)))


def credible(costs: FloatArray) -> FloatArray:
    """Return ``(n, m)`` costs, n >= 1, in which those too good to be true are the worst there are.

    One such value would be the whole front: an overflow, an error of -1e12. What is usual is the size of the
    median and of the third quartile, so up to half of a column may be too good. Too good is

    - a negative cost of a thousand times the usual, and below -1, where the others are all positive: what can't
      be negative is. Of four rows or more.
    - a negative cost of a million times the usual, and below -1e9, whatever the others are: rates that are
      maximised may span several orders of magnitude.

    Where the usual is 0, as of networks that don't work, the first quartile counts for the second.
    """
    if len(costs) == 0:
        return costs
    first, median, third = np.quantile(costs, [0.25, 0.5, 0.75], axis=0, method="higher")
    usual = np.maximum(np.abs(median), np.abs(third))
    near = -FAR_OUT * np.maximum(usual, 1 / FAR_OUT)
    others_positive = ((costs < near) | (costs > 0)).all(axis=0) & (len(costs) > 3)
    far = -_UNHEARD_OF * np.maximum(np.where(usual > 0, usual, np.abs(first)), FAR_OUT)
    return np.where(costs < np.where(others_positive, near, far), costs.max(axis=0), costs)


def are_credible(costs: FloatArray) -> NDArray[np.bool_]:
    """Return which of ``(n, m)`` costs, ``(n,)``, hold no value too good to be true; see :func:`credible`."""
    return np.asarray((credible(costs) == costs).all(axis=1))


def credible_front(costs: FloatArray, excess: FloatArray) -> NDArray[np.bool_]:
    """Return the rows on the front of the credible ones, those that exceed the limits least.

    Args:
        costs: ``(n, m)``; may be empty.
        excess: ``(n,)`` by how much each row exceeds the limits.
    """
    front = are_credible(costs)
    front[front] = pareto.find_constrained_front(costs[front], excess[front])
    return front


def doubts(objectives: Sequence[Objective], trials: Sequence[FrozenTrial]) -> list[str]:
    """Return a sentence that names the trials with values too good to be true; none if all are credible."""
    costs = costs_of(objectives, trials)
    wrong = credible(costs) != costs
    if not wrong.any():
        return []
    numbers = [str(trial.number) for trial, row in zip(trials, wrong, strict=True) if row.any()]
    names = [o.name for o, column in zip(objectives, wrong.T, strict=True) if column.any()]
    which = f"trial {numbers[0]} has" if len(numbers) == 1 else f"trials {', '.join(numbers)} have"
    return [
        f"{which} values too good to be true in {', '.join(names)} and can't be on the front: check what measures "
        "that."
    ]
