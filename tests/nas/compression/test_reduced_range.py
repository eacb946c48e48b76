from __future__ import annotations

from pathlib import Path

import pytest

from nas.compression.reduced_range import largest_weight, needs_reduced_range


@pytest.mark.parametrize(
    ("machine", "cpuinfo", "needed"),
    [
        ("x86_64", "flags\t\t: fpu avx2 fma\n", True),
        ("x86_64", "flags\t\t: fpu avx2 avx512_vnni\n", False),
        ("x86_64", "flags\t\t: fpu avx_vnni avx2\n", False),
        ("x86_64", "flags\t\t: not_avx512_vnni_really\n", True),
        ("x86_64", "", True),
        ("aarch64", "Features\t: fp asimd\n", False),
        ("arm64", "", False),
        ("armv7l", "", False),
        ("riscv64", "", True),
    ],
)
def test_weights_give_up_a_bit_unless_the_processor_is_known_not_to_need_it(
    tmp_path: Path, machine: str, cpuinfo: str, needed: bool
) -> None:
    (tmp_path / "cpuinfo").write_text(cpuinfo)
    assert needs_reduced_range(machine, tmp_path / "cpuinfo") is needed


def test_a_system_without_cpuinfo_gives_up_a_bit(tmp_path: Path) -> None:
    assert needs_reduced_range("x86_64", tmp_path / "none")


def test_the_largest_weight_is_what_onnxruntime_has() -> None:
    assert (largest_weight(reduce_range=True), largest_weight(reduce_range=False)) == (64, 127)
