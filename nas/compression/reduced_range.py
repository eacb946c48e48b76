"""Whether int8 weights may use all of their 8 bits: that depends on the processor."""

from __future__ import annotations

import platform
from pathlib import Path

from nas.checks import check_kind

_ADDS_EXACTLY = {"avx512_vnni", "avx_vnni"}
"""As Linux names them: dot products of int8 that are summed up in 32 bits at once."""


def needs_reduced_range(machine: str = platform.machine(), cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether a processor needs weights of 7 of the 8 bits.

    On x86 without VNNI, ONNX Runtime adds pairs of products of unsigned and signed bytes in 16 bits, where those of
    full-range weights saturate and the accuracy collapses (the section "Reduce range" of its guide to quantization).
    Arm's processors don't. Where nothing is known, the bit is given up: that costs little.

    Args:
        machine: What kind of processor, as Python says it.
        cpuinfo: Where Linux says what it can do.
    """
    if machine.lower().startswith(("arm", "aarch64")):
        return False
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return True
    flags = {flag for line in lines if line.startswith("flags") for flag in line.partition(":")[2].split()}
    return not flags & _ADDS_EXACTLY


def check_reduced_range(holder: str, reduce_range: object) -> None:
    """Refuse a setting that is none of True, False and None, which stands for what this machine needs.

    Raises:
        StudyError: it is something else.
    """
    if not isinstance(reduce_range, bool):
        wanted = "True, False, or None for what the processor needs,"
        check_kind(holder, "reduce_range", reduce_range, type(None), wanted)


def choose_reduced_range(reduce_range: bool | None) -> bool:
    """Return a setting, or what this machine's processor needs where it is None."""
    return needs_reduced_range() if reduce_range is None else reduce_range


def largest_weight(*, reduce_range: bool) -> int:
    """Return the largest int8 that a weight becomes, as ONNX Runtime has it; the smallest is its negative."""
    return 64 if reduce_range else 127
