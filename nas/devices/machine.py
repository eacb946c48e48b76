"""What a measurement was made on and with."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path

_PACKAGES = ("nas", "torch", "onnxruntime", "optuna", "pymoo", "numpy")


def processor_name() -> str:
    """Return the name of this machine's processor, as the operating system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names and names[0] else platform.processor() or platform.machine()


def machine_facts() -> dict[str, str]:
    """Return processor, operating system, and versions, for cards and reports."""
    return {
        "processor": f"{processor_name()}, {os.cpu_count()} logical cores",
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in _PACKAGES},
    }
