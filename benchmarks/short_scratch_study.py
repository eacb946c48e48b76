"""A run of counted objectives, whose candidates are trained from scratch for seconds each, for ``killed_workers``."""

import dataclasses

from nas import Accuracy, FromScratch, Macs, Recipe, Study, Trust, Winners
from studies.digits import study as digits


def study() -> Study:
    """Return the digits study with little of everything."""
    return dataclasses.replace(
        digits(),
        name="short_scratch",
        objectives=(Accuracy(), Macs()),
        training=FromScratch(),
        recipe=Recipe(epochs=2),
        evaluations=12,
        trust=Trust(count=0),
        winners=Winners(count=2, recipe=Recipe(epochs=1, learning_rate=1e-3)),
    )
