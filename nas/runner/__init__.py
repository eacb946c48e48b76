"""The stages of a run: each resumes where it was left, and does nothing when it is done."""

from typing import TYPE_CHECKING

from nas.lazy import import_on_demand

if TYPE_CHECKING:
    from nas.runner.running import assist, run
else:
    __getattr__ = import_on_demand(__name__, {"nas.runner.running": "assist run"})

__all__ = ["assist", "run"]
