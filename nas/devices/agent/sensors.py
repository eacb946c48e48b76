"""What the operating system tells of the device: which processor it is, how warm, how fast, whether it is throttled."""

from __future__ import annotations

import platform
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_ARM_CORES = {
    0xD03: "Cortex-A53",
    0xD04: "Cortex-A35",
    0xD05: "Cortex-A55",
    0xD07: "Cortex-A57",
    0xD08: "Cortex-A72",
    0xD09: "Cortex-A73",
    0xD0A: "Cortex-A75",
    0xD0B: "Cortex-A76",
    0xD0C: "Neoverse-N1",
    0xD0D: "Cortex-A77",
    0xD40: "Neoverse-V1",
    0xD41: "Cortex-A78",
    0xD44: "Cortex-X1",
    0xD46: "Cortex-A510",
    0xD47: "Cortex-A710",
    0xD48: "Cortex-X2",
    0xD49: "Neoverse-N2",
    0xD4D: "Cortex-A715",
    0xD4E: "Cortex-X3",
    0xD80: "Cortex-A520",
    0xD81: "Cortex-A720",
    0xD82: "Cortex-X4",
}
"""Part numbers in the main ID register; Linux names no processor on Arm."""
_THROTTLERS = ("thermal-cpufreq", "cpufreq-cpu", "cpu-cluster", "Processor")
"""How Linux names the cooling devices that slow a processor down."""
_PI_LIMITS = 0x2 | 0x4 | 0x8
"""Bits of a Raspberry Pi's firmware: its clock is capped, it is throttled, the soft limit of temperature is reached."""


class Sensors:
    """The device as its operating system shows it; None or 0 stands for what it doesn't.

    Args:
        cores: That networks run on, all of one kind.
        root: Where ``sys`` and ``proc`` are.
    """

    def __init__(self, cores: Sequence[int], root: Path = Path("/")) -> None:
        self._cores, self._core = cores, cores[0]
        self._sys, self._proc = root / "sys", root / "proc"

    def processor(self) -> str:
        """Return the name of the core's processor, and of the board where it has one."""
        entry = self._cpuinfo()
        name = entry.get("model name") or _arm_name(entry) or platform.processor() or platform.machine()
        board = _text(self._proc / "device-tree" / "model").rstrip("\0")
        return f"{board}, {name}" if board else name

    def max_clock_mhz(self) -> int | None:
        """Return the highest clock of the core: cores of one board may differ."""
        found = _number(self._cpufreq / "cpuinfo_max_freq")
        return None if found is None else round(found / 1e3)

    def state(self) -> dict[str, Any]:
        """Return warmth, clock, and whether the device is slowed down because of its warmth."""
        clock = _number(self._cpufreq / "scaling_cur_freq")
        return {
            "temperature_c": self._temperature_c(),
            "clock_mhz": None if clock is None else round(clock / 1e3),
            "throttled": self._is_throttled(),
        }

    def throttle_count(self) -> int:
        """Return how often the cores were slowed down since the system began."""
        folders = [self._cpu(core) / "thermal_throttle" for core in self._cores]
        files = [path for folder in folders for path in folder.glob("*_throttle_count")]
        return int(sum(_number(path) or 0 for path in files))

    def _cpu(self, core: int) -> Path:
        return self._sys / "devices" / "system" / "cpu" / f"cpu{core}"

    @property
    def _cpufreq(self) -> Path:
        return self._cpu(self._core) / "cpufreq"

    def _cpuinfo(self) -> dict[str, str]:
        """Return what ``/proc/cpuinfo`` says of the core; of the first one where it has no paragraph."""
        paragraphs = []
        for text in _text(self._proc / "cpuinfo").split("\n\n"):
            pairs = [line.partition(":")[::2] for line in text.splitlines()]
            paragraphs.append({key.strip(): value.strip() for key, value in pairs})
        of_core = [one for one in paragraphs if one.get("processor") == str(self._core)]
        return (of_core or paragraphs)[0]

    def _temperature_c(self) -> float | None:
        zones = {}
        for zone in (self._sys / "class" / "thermal").glob("thermal_zone*"):
            value = _number(zone / "temp")
            if value is not None:
                zones[_text(zone / "type")] = value / 1e3
        of_processor = [v for kind, v in zones.items() if re.search("cpu|soc|pkg|core", kind, re.IGNORECASE)]
        return max(of_processor or zones.values(), default=None)

    def _is_throttled(self) -> bool | None:
        firmware = _text(self._sys / "devices" / "platform" / "soc" / "soc:firmware" / "get_throttled")
        states = [
            _number(folder / "cur_state")
            for folder in (self._sys / "class" / "thermal").glob("cooling_device*")
            if _text(folder / "type").startswith(_THROTTLERS)
        ]
        told = [value > 0 for value in states if value is not None]
        if re.fullmatch("[0-9a-f]+", firmware):
            told.append(bool(int(firmware, 16) & _PI_LIMITS))
        return any(told) if told else None


def _arm_name(entry: dict[str, str]) -> str:
    part = entry.get("CPU part", "")
    if not re.fullmatch("0x[0-9a-f]+", part):
        return ""
    if entry.get("CPU implementer") == "0x41" and int(part, 16) in _ARM_CORES:
        return _ARM_CORES[int(part, 16)]
    return f"Arm core {entry.get('CPU implementer', '?')}/{part}"


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def _number(path: Path) -> float | None:
    try:
        return float(_text(path))
    except ValueError:
        return None
