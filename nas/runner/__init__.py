"""The stages of a run: each resumes where it was left, and does nothing when it is done."""

from typing import TYPE_CHECKING

from nas.lazy import imported_on_demand

if TYPE_CHECKING:
    from nas.runner.running import assist, run
    from nas.runner.working import work
else:
    __getattr__ = imported_on_demand(
        __name__, {"nas.runner.running": "assist run", "nas.runner.working": "work"}
    )

__all__ = ["assist", "run", "work"]
