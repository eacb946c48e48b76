"""Choosing a batch by the hypervolume it is expected to add."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.stats import norm, qmc

from nas.search.record import ReferenceBox
from nas.space import FloatArray

_NUM_DIRECTIONS = 1024
_MIN_OBJECTIVES_FOR_TURNS = 3


def most_improving(
    draws: FloatArray,
    known: FloatArray,
    count: int,
    rng: np.random.Generator,
    *,
    pending: FloatArray | None,
    excess: Callable[[FloatArray], FloatArray] | None = None,
) -> list[int]:
    """Return up to ``count`` candidates, each adding most expected hypervolume to those before it.

    Expected hypervolume improvement (Emmerich 2006) over joint draws, greedy in the batch: a picked
    candidate joins the front of every draw at the costs it has there, so that one of two candidates that
    are uncertain for the same reason is enough.

    A hypervolume is a mean over directions of how far the front reaches along each, to the power of the
    number of objectives (Golovin 2020, lemma 5). A fixed set of directions makes it a few array
    operations, for any number of objectives.

    From three objectives on every second one is instead expected to add most along one direction, drawn at
    random (Paria 2019). So a model that is wrong about one end of the front, and promises much there again
    and again, can't take the whole search to it. With two objectives that costs more than it saves
    (docs/strategies.md).

    Args:
        draws: ``(s, n, m)`` costs that ``n`` candidates may have.
        known: ``(k, m)`` costs of the finished trials, k >= 1.
        count: How many to pick.
        rng: Draws the directions.
        pending: ``(s, p, m)`` costs, in the same draws, that candidates under evaluation may have.
        excess: Of ``(..., m)`` costs, by how much they exceed a limit; those above 0 bring nothing.

    Returns:
        Rows of the candidates, best first; fewer than ``count`` when nothing more is expected to be gained.
    """
    # The box of all that is known: a front's own worst corner would rule out better networks at a higher cost.
    box = ReferenceBox.around(known)
    directions = _directions(known.shape[1], rng)

    def reach(costs: FloatArray) -> FloatArray:
        volumes = _reached(box, costs, directions)
        if excess is not None:
            volumes[excess(costs) > 0] = 0.0
        return volumes

    reached = np.tile(reach(known).max(axis=0), (len(draws), 1))
    if pending is not None and pending.shape[1]:
        reached = np.maximum(reached, [reach(p).max(axis=0) for p in pending])
    reaches = np.stack([reach(draw) for draw in draws])
    useful = np.flatnonzero(_gains(reaches, reached).any(axis=1))
    reaches = reaches[:, useful]
    takes_turns = known.shape[1] >= _MIN_OBJECTIVES_FOR_TURNS
    picked: list[int] = []
    while len(picked) < min(count, len(useful)):
        along = _gains(reaches, reached)
        gains = along.mean(axis=1)
        if takes_turns and len(picked) % 2:
            in_one = along[:, rng.integers(_NUM_DIRECTIONS)]
            gains = in_one if in_one.any() else gains
        gains[picked] = -1.0
        best = int(np.argmax(gains))
        picked.append(best)
        reached = np.maximum(reached, reaches[:, best])
    return [int(row) for row in useful[picked]]


def _directions(num_objectives: int, rng: np.random.Generator) -> FloatArray:
    """Return ``(d, m)`` unit vectors, evenly spread over the positive part of the sphere."""
    uniform = qmc.Sobol(num_objectives, rng=rng).random(_NUM_DIRECTIONS)
    normal = np.abs(norm.ppf(0.5 + 0.5 * np.clip(uniform, 1e-6, 1 - 1e-6)))
    directions: FloatArray = normal / np.linalg.norm(normal, axis=1, keepdims=True)
    return np.maximum(directions, 1e-9)


def _reached(box: ReferenceBox, costs: FloatArray, directions: FloatArray) -> FloatArray:
    """Return how much hypervolume each of ``(n, m)`` costs reaches in each direction, ``(n, d)`` float32."""
    room = np.maximum(box.reference - box.scaled(costs), 0.0).astype(np.float32)
    inverse = (1.0 / directions).astype(np.float32)
    length = room[:, 0, None] * inverse[:, 0]
    for objective in range(1, room.shape[1]):
        np.minimum(length, room[:, objective, None] * inverse[:, objective], out=length)
    volumes: FloatArray = length ** room.shape[1]
    return volumes


def _gains(reaches: FloatArray, reached: FloatArray) -> FloatArray:
    """Return the gain of ``(s, n, d)`` over ``(s, d)``, a mean over draws, ``(n, d)``."""
    gains = np.zeros(reaches.shape[1:])
    for by, before in zip(reaches, reached, strict=True):
        gains += np.maximum(by - before, 0.0)
    return gains / len(reaches)
