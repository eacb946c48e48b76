"""Winners as files, and back."""

from typing import TYPE_CHECKING

from nas.lazy import import_on_demand

if TYPE_CHECKING:
    from nas.export.folder import load
else:
    __getattr__ = import_on_demand(__name__, {"nas.export.folder": "load"})

__all__ = ["load"]
