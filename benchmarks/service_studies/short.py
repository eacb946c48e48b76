"""The short run that is killed: a few evaluations, two winners."""

from benchmarks.short_study import study

__all__ = ["study"]
