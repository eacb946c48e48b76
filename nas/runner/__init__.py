"""The stages of a run: each resumes where it was left, and does nothing when it is done."""

from nas.runner.run import assist, run

__all__ = ["assist", "run"]
