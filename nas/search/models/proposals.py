"""Functions that samplers share: a study as arrays, and new architectures that meet the hard constraints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import final

import numpy as np
from optuna.study import Study
from optuna.trial import FrozenTrial

from nas.search.models.designs import downhill, draw_tilted_samples
from nas.search.record.trials import costs_of, has_values, is_paid, options_of, with_later
from nas.space import FloatArray, IntArray, SearchSpace
from nas.strategy import Problem

_FIRST_POOL_SIZE = 32
"""In most spaces some of a few random architectures may be proposed; to look at more takes time for nothing."""
_POOL_SIZE = 512
"""For spaces in which one architecture of a hundred meets the constraints."""
_NUM_LED_DOWNHILL = 16
"""For spaces in which next to none does. Fewer, because each step downhill looks at all neighbours."""
MAX_LISTED = 2**17
"""Combinations of options up to which a space is looked at in full."""


@final
@dataclass(frozen=True)
class History:
    """The other trials of a study as arrays, for a sampler that proposes one more.

    Args:
        finished: ``(n, num_choices)`` canonical positions of the trials with finite values, by number, no
            repeats.
        costs: ``(n, m)`` of these.
        numbers: ``(n,)`` the trials' numbers.
        seen: ``tobytes()`` of what must not be proposed: the rows of all other trials, whether finished,
            failed, refused, running in another process or queued.
    """

    finished: IntArray
    costs: FloatArray
    numbers: IntArray
    seen: AbstractSet[bytes]


def history_of(problem: Problem, trials: Sequence[FrozenTrial]) -> History:
    """Return trials as arrays, without those that don't hold a whole architecture yet."""
    space = problem.space
    whole = [(trial, options) for trial in trials if (options := options_of(space, trial)) is not None]
    rows = space.canonical(space.indices(options for _, options in whole))
    taught = np.array([is_paid(trial) and has_values(trial) for trial, _ in whole], dtype=np.bool_)
    teachers = [trial for (trial, _), by in zip(whole, taught, strict=True) if by]
    numbers = np.array([trial.number for trial in teachers], dtype=np.int64)
    return History(rows[taught], costs_of(problem.objectives, teachers), numbers, keys(rows))


def others(study: Study, trial: FrozenTrial) -> list[FrozenTrial]:
    """Return all trials but this one, by number.

    A trial that a killed process left running is sampled again under its own number, so its earlier options may be
    proposed again.
    """
    return with_later(study, [t for t in study.get_trials(deepcopy=False) if t.number != trial.number])


def keys(rows: IntArray) -> set[bytes]:
    """Return ``tobytes()`` of each row."""
    return {row.tobytes() for row in rows}


def fresh(problem: Problem, rows: IntArray, seen: AbstractSet[bytes]) -> IntArray:
    """Return those of ``(n, num_choices)`` positions that may be proposed.

    Canonical, unseen and within the hard constraints; without repeats, in the given order.
    """
    rows = problem.space.canonical(rows)
    # Backwards, so that of equal rows the first one stays.
    different = {row.tobytes(): position for position, row in reversed(list(enumerate(rows)))}
    unseen = sorted(position for key, position in different.items() if key not in seen)
    rows = rows[unseen]
    return rows[problem.infeasibility(rows) <= 0] if len(rows) else rows


def any_fresh(problem: Problem, seen: AbstractSet[bytes], rng: np.random.Generator) -> IntArray | None:
    """Return a random architecture that may be proposed, ``(num_choices,)``; None if none is found.

    Drawn with equally likely options where that meets the constraints, else leaning to small or large.
    When none of these may be proposed, a space of at most 2^17 combinations is listed. In a larger one,
    infeasible architectures are led downhill, and the neighbours of what was seen are tried.
    """
    for rows in _random_then_systematic(problem, seen, rng):
        found = fresh(problem, rows, seen)
        if len(found):
            return np.asarray(found[0])
    return None


def _random_then_systematic(
    problem: Problem, seen: AbstractSet[bytes], rng: np.random.Generator
) -> Iterator[IntArray]:
    space = problem.space
    for size in (_FIRST_POOL_SIZE, _POOL_SIZE):
        yield space.sample_indices(size, rng)
    yield draw_tilted_samples(problem, _POOL_SIZE, rng)
    if space.num_combinations <= MAX_LISTED:
        every = space.combinations(rng.permutation(space.num_combinations))
        yield from np.array_split(every, range(_POOL_SIZE, len(every), _POOL_SIZE))
        return
    samples = space.sample_indices(_NUM_LED_DOWNHILL, rng)
    yield np.array([downhill(problem, row)[0] for row in samples])
    # Sorted, because the order of a set differs from process to process.
    for key in sorted(seen):
        yield neighbours(space, np.frombuffer(key, dtype=np.int64))


def neighbours(space: SearchSpace, row: IntArray) -> IntArray:
    """Return every architecture that differs from ``row`` in one choice, ``(n, num_choices)`` canonical.

    A choice that matters only now stands at its first option. Choices that don't matter are not changed.
    """
    matters = np.flatnonzero(space.active(row[None])[0])
    columns = np.concatenate([np.full(space.num_options[c], c) for c in matters] or [np.zeros(0, np.int64)])
    options = np.concatenate([np.arange(space.num_options[c]) for c in matters] or [np.zeros(0, np.int64)])
    different = options != row[columns]
    rows = np.tile(row, (int(different.sum()), 1))
    rows[np.arange(len(rows)), columns[different]] = options[different]
    return space.canonical(rows)
