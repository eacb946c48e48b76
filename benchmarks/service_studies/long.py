"""A search that goes on for as long as anybody measures: thousands of cheap evaluations."""

import dataclasses

from benchmarks.short_study import study as short_study
from nas import Accuracy, Macs, NumParams, OptunaSampler, Study


def study() -> Study:
    """Return the study; no latency in it, which a busy machine would blur."""
    return dataclasses.replace(
        short_study(),
        name="long",
        objectives=(Accuracy(), Macs(), NumParams()),
        strategy=OptunaSampler("RandomSampler"),
        evaluations=20_000,
    )
