"""The stages of a run: each resumes where it was left, and does nothing when it is done."""

from nas.runner.run import assist, run
from nas.runner.work import work

__all__ = ["assist", "run", "work"]
