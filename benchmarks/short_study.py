"""A run of half a minute, for ``kill_resume``."""

import dataclasses

from nas import Int8, Recipe, Study, Winners
from studies.digits import study as digits


def study() -> Study:
    """Return the digits study with little of everything."""
    return dataclasses.replace(
        digits(),
        name="short",
        recipe=Recipe(epochs=3),
        evaluations=32,
        winners=Winners(count=2, recipe=Recipe(epochs=2, learning_rate=1e-3), passes=(Int8(),)),
    )
