"""Measures files that tie on the final front again, taking turns, until no tie or no round is left."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from nas.files import make_damage_error
from nas.objective import Measurement, combine_measurements
from nas.runner.steps import CachedStep

logger = logging.getLogger(__name__)

Row = Mapping[str, Measurement]
"""What is measured of a file, by objective."""


def settle_ties(
    first: Sequence[Row],
    find: Callable[[Sequence[Row]], Mapping[str, Sequence[int]]],
    measure: Callable[[str, Sequence[int]], Sequence[Measurement]],
    step: CachedStep,
    rounds: int,
) -> list[Row]:
    """Return the measurements of files, after those that tie have been measured again.

    Args:
        first: What was measured of each file at first.
        find: Returns which files tie in which objective, by what is known so far.
        measure: Measures an objective of some files again, taking turns.
        step: Keeps each round as soon as it is made.
        rounds: How many there may be.
    """
    again = step.result(list[list[dict[str, Measurement]]]) or []
    if any(len(one) != len(first) for one in again):
        raise make_damage_error(step.path, f"rounds of {len(first)} files are expected")
    for number in range(rounds):
        known = _combine_rows(first, again[:number])
        tied = find(known)
        if not tied:
            return known
        if number == len(again):
            again.append(_measure_round(len(first), tied, measure))
            step.store([[{name: m.to_json() for name, m in row.items()} for row in one] for one in again])
    return _combine_rows(first, again[:rounds])


def _measure_round(
    num_files: int,
    tied: Mapping[str, Sequence[int]],
    measure: Callable[[str, Sequence[int]], Sequence[Measurement]],
) -> list[dict[str, Measurement]]:
    found: list[dict[str, Measurement]] = [{} for _ in range(num_files)]
    for name, files in tied.items():
        logger.info("%d files tie in %s and are measured again", len(files), name)
        for file, measurement in zip(files, measure(name, files), strict=True):
            found[file][name] = measurement
    return found


def _combine_rows(first: Sequence[Row], again: Sequence[Sequence[Row]]) -> list[Row]:
    return [
        {
            name: combine_measurements([m, *(one[file][name] for one in again if name in one[file])])
            for name, m in row.items()
        }
        for file, row in enumerate(first)
    ]
