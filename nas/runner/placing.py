"""Compares finished variants: which are shipped, which are on the final front, and which are tied."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from nas import pareto
from nas.space import FloatArray, IntArray


@final
@dataclass(frozen=True)
class Places:
    """The result of comparing ``n`` variants, each a row.

    Args:
        shipped: ``(n,)``, False where the variant that it was made from dominates it.
        on_front: ``(n,)``, whether no variant of a winner dominates it; a winner's own that is on it is on the front.
        tied: ``(n, n, m)`` by which columns two of the front are tied, see :func:`nas.pareto.ties_within_noise`.
    """

    shipped: NDArray[np.bool_]
    on_front: NDArray[np.bool_]
    tied: NDArray[np.bool_]


def place_variants(
    costs: FloatArray, spreads: FloatArray, over: FloatArray, parents: IntArray, num_winners: int
) -> Places:
    """Compare variants. Within the noise, neither of two dominates the other.

    Args:
        costs: ``(n, m)`` minimised.
        spreads: ``(n, m)`` of the noise that measuring again would show.
        over: ``(n,)`` by how much each exceeds the limits.
        parents: ``(n,)`` row of the variant that each was made from; its own where it is the first.
        num_winners: How many rows, from the first on, are variants of winners, which make the front.
    """
    shipped = np.array([not pareto.dominators(costs, spreads, of)[by] for of, by in enumerate(parents)])
    contenders = np.flatnonzero(shipped[:num_winners])
    front = _front(costs, spreads, over, contenders)
    members = contenders[front[contenders]]
    tied = np.zeros((len(costs), len(costs), costs.shape[1]), dtype=np.bool_)
    tied[np.ix_(members, members)] = pareto.ties_within_noise(costs[members], spreads[members])
    return Places(shipped, front & shipped, tied)


def _front(
    costs: FloatArray, spreads: FloatArray, over: FloatArray, contenders: IntArray
) -> NDArray[np.bool_]:
    """Return which rows are on the front of some, or would be if they were added to these alone."""
    front = np.zeros(len(costs), dtype=np.bool_)
    front[contenders] = pareto.find_constrained_front(
        costs[contenders], over[contenders], spreads[contenders]
    )
    for row in np.setdiff1d(np.arange(len(costs)), contenders):
        rows = [*contenders, row]
        front[row] = pareto.find_constrained_front(costs[rows], over[rows], spreads[rows])[-1]
    return front
