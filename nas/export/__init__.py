"""Winners as files, and back."""

from nas.export.folder import load

__all__ = ["load"]
