"""A run whose time goes into candidates that are trained from scratch, for ``parallel_speedup``."""

import dataclasses

from benchmarks.short_scratch_study import study as short
from nas import Recipe, Study


def study() -> Study:
    """Return the short study with as many epochs and candidates as begin and end weigh little beside."""
    return dataclasses.replace(short(), name="scratch", recipe=Recipe(epochs=12), evaluations=40)
