"""Choosing a batch by the hypervolume it is expected to add."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, qmc

from nas import pareto
from nas.search.record.reference_box import ReferenceBox
from nas.space import FloatArray, IntArray

_NUM_DIRECTIONS = 1024
"""A power of two, as Sobol points need to be evenly spread. Chosen: the time of a proposal grows with it, and the
hypervolume's error falls nearly as fast; the model's own error is far larger."""
_NEARLY_WORST = 0.8
"""As a share of the box. A member beyond it in any objective, such as the fast network that has learned nothing, is no
part of the front that a search should spend evaluations near."""
_NUM_AT_ONCE = 8
"""Candidates whose gains are brought up to date together. Speed alone depends on it: the picks are the same."""


def most_improving(
    draws: FloatArray,
    known: FloatArray,
    count: int,
    rng: np.random.Generator,
    *,
    pending: FloatArray | None,
    excess: Callable[[FloatArray], FloatArray] | None = None,
    in_turns: bool = False,
) -> list[int]:
    """Return up to ``count`` candidates, each adding most expected hypervolume to those before it.

    Expected hypervolume improvement (Emmerich 2006) over joint draws, greedy in the batch: a picked
    candidate joins the front of every draw at the costs it has there, so that one of two candidates that
    are uncertain for the same reason is enough.

    A hypervolume is a mean over directions of how far the front reaches along each, to the power of the
    number of objectives (Golovin 2020, lemma 5). A fixed set of directions makes it a few array
    operations, for any number of objectives.

    In turns, all but the first are instead expected to add most of those that would lie near one member of the
    front, drawn in proportion to how alone it is there (the crowding distance, Deb 2002). So a model that is wrong
    about one end of the front, and promises much there again and again, can't take the whole search to it.

    Args:
        draws: ``(s, n, m)`` costs that ``n`` candidates may have.
        known: ``(k, m)`` costs of the finished trials, k >= 1.
        count: How many to pick.
        rng: Draws the directions.
        pending: ``(s, p, m)`` costs, in the same draws, that candidates under evaluation may have.
        excess: By how much ``(..., m)`` costs exceed a limit; those above 0 bring nothing.
        in_turns: Whether the regions of the front take turns.

    Returns:
        Rows of the candidates, best first; fewer than ``count`` when nothing more is expected to be gained.
    """
    # The box of all that is known: a front's own worst corner would rule out better networks at a higher cost.
    box = ReferenceBox.around(known)
    reach = _Reach(box, _directions(known.shape[1], rng), excess)
    reached = np.tile(reach.of(known).max(axis=0), (len(draws), 1))
    if pending is not None and pending.shape[1]:
        reached = np.maximum(reached, [reach.of(p).max(axis=0) for p in pending])
    gains = _Gains(np.stack([reach.of(draw) for draw in draws]), reached)
    regions = _FrontRegions(box, known, np.median(draws, axis=0)) if in_turns else None
    return _pick_greedily(gains, regions, count, rng)


def _pick_greedily(
    gains: _Gains, regions: _FrontRegions | None, count: int, rng: np.random.Generator
) -> list[int]:
    """Return up to ``count`` candidates, each the best beside those before it, or best in a region of the front."""
    useful = gains.bounds > 0
    picked: list[int] = []
    while len(picked) < min(count, int(useful.sum())):
        left = useful.copy()
        left[picked] = False
        best = None
        if regions is not None and picked:
            best = gains.best(regions.draw(left, rng) & left)
        picked.append(gains.best(left) if best is None or gains.bounds[best] <= 0 else best)
        gains.add(picked[-1])
    return picked


@final
@dataclass(frozen=True)
class _Reach:
    """How far costs reach.

    Args:
        box: Around all that is known.
        directions: ``(d, m)`` unit vectors.
        excess: By how much ``(..., m)`` costs exceed a limit; None without limits.
    """

    box: ReferenceBox
    directions: FloatArray
    excess: Callable[[FloatArray], FloatArray] | None

    def of(self, costs: FloatArray) -> FloatArray:
        """Return how much hypervolume each of ``(n, m)`` costs reaches in each direction, ``(n, d)`` float32."""
        # In single precision, which halves the memory and the time: gains are compared, not told.
        room = np.maximum(self.box.reference - self.box.scale(costs), 0.0).astype(np.float32)
        inverse = (1.0 / self.directions).astype(np.float32)
        length = room[:, 0, None] * inverse[:, 0]
        for objective in range(1, room.shape[1]):
            np.minimum(length, room[:, objective, None] * inverse[:, objective], out=length)
        volumes: FloatArray = length ** room.shape[1]
        if self.excess is not None:
            volumes[self.excess(costs) > 0] = 0.0
        return volumes


@final
class _Gains:
    """What each candidate would still add. It only gets less, so what was found earlier bounds it (Minoux 1978).

    Args:
        reaches: ``(s, n, d)`` of ``n`` candidates in each draw and direction.
        reached: ``(s, d)`` by what is known.
    """

    def __init__(self, reaches: FloatArray, reached: FloatArray) -> None:
        self._reaches, self._reached = reaches, reached
        self._stale = np.zeros(reaches.shape[1], dtype=np.bool_)
        self.bounds = np.zeros(reaches.shape[1])
        self._find(np.arange(reaches.shape[1]))

    def best(self, among: NDArray[np.bool_]) -> int:
        """Return the candidate that adds most; its bound is then exact. Of those marked, at least one."""
        while True:
            # A bound only falls, so the first candidate whose bound is exact is the best of all.
            order = np.argsort(np.where(among, -self.bounds, np.inf), kind="stable")[: int(among.sum())]
            if not self._stale[order[0]]:
                return int(order[0])
            self._find(order[self._stale[order]][:_NUM_AT_ONCE])

    def add(self, candidate: int) -> None:
        """Let a candidate be among what is reached."""
        self._reached = np.maximum(self._reached, self._reaches[:, candidate])
        self._stale[:] = True

    def _find(self, candidates: IntArray) -> None:
        gains = np.zeros(len(candidates))
        # Draw by draw and in place: all draws at once would take as many times the memory.
        for by, before in zip(self._reaches, self._reached, strict=True):
            more = by[candidates] - before
            gains += np.maximum(more, 0.0, out=more).sum(axis=1)
        self.bounds[candidates] = gains / (len(self._reaches) * self._reached.shape[1])
        self._stale[candidates] = False


@final
class _FrontRegions:
    """To which member of the front each candidate is nearest, in ranks among the members.

    Args:
        box: Around all that is known.
        known: ``(k, m)`` costs, k >= 1.
        expected: ``(n, m)`` costs of the candidates.
    """

    def __init__(self, box: ReferenceBox, known: FloatArray, expected: FloatArray) -> None:
        front = np.unique(known[pareto.non_dominated(known)], axis=0)
        distances = np.zeros((len(expected), len(front)))
        for objective, costs in enumerate(front.T):
            values, ranks = np.unique(costs, return_inverse=True)
            reached = np.interp(expected[:, objective], values, np.arange(len(values)))
            distances += ((reached[:, None] - ranks) / max(len(values) - 1, 1)) ** 2
        self._nearest = distances.argmin(axis=1)
        self._weights = _loneliness(box.scale(front), _NEARLY_WORST * box.reference)

    def draw(self, left: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
        """Return which of the candidates lie in one region, which at least one of those that are ``left`` is in."""
        regions = np.unique(self._nearest[left])
        weights = self._weights[regions]
        mask: NDArray[np.bool_] = self._nearest == rng.choice(regions, p=weights / weights.sum())
        return mask


def _loneliness(front: FloatArray, limits: FloatArray) -> FloatArray:
    """Return the share of each of ``(k, m)`` members in the front's extent, summed over objectives, ``(k,)``.

    In one objective that is half of the way to the next member on either side. What is beyond the limits in any
    objective, the fast network that has learned nothing, has next to no share, and stretches nothing.
    """
    inside = np.flatnonzero((front < limits).all(axis=1))
    if not len(inside):
        return np.ones(len(front))
    shares = np.full(len(front), 1e-9)
    for costs in front[inside].T:
        order = np.argsort(costs)
        ascending = costs[order]
        borders = np.concatenate([ascending[:1], (ascending[1:] + ascending[:-1]) / 2, ascending[-1:]])
        shares[inside[order]] += np.diff(borders) / max(np.ptp(costs), 1e-12)
    return shares


def _directions(num_objectives: int, rng: np.random.Generator) -> FloatArray:
    """Return ``(d, m)`` unit vectors, evenly spread over the positive part of the sphere."""
    uniform = qmc.Sobol(num_objectives, rng=rng).random(_NUM_DIRECTIONS)
    # Absolute values of normal variables, normalised, are uniform on the positive part of the sphere. Ends are clipped,
    # whose quantiles are 0 and infinite.
    normal = np.abs(norm.ppf(0.5 + 0.5 * np.clip(uniform, 1e-6, 1 - 1e-6)))
    directions: FloatArray = normal / np.linalg.norm(normal, axis=1, keepdims=True)
    return np.maximum(directions, 1e-9)
