from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from nas.devices import Rapl
from nas.errors import DeviceFaultError, StudyChangedError, StudyError
from nas.evaluation import EnergyMj, SubnetCandidate
from nas.objectives import Bench
from nas.splits import Split
from nas.testing import check_measured_objective
from nas.testing.small_network import small_network

SHAPE = (1, 8, 8)


@dataclass(frozen=True)
class Meter:
    """Says what it is told to say."""

    says: Iterator[float] = field(repr=False)

    def joules(self) -> float:
        return next(self.says)


def rising() -> Iterator[float]:
    joules = 1.0
    while True:
        yield joules
        joules += 0.5


def energy(says: Iterator[float]) -> EnergyMj:
    return EnergyMj(Meter(says), short_seconds=0.01, long_seconds=0.02)


def packages(folder: Path, *microjoules: int) -> str:
    for number, value in enumerate(microjoules):
        (folder / f"intel-rapl:{number}").mkdir()
        (folder / f"intel-rapl:{number}" / "energy_uj").write_text(f"{value}\n")
        (folder / f"intel-rapl:{number}:0").mkdir()  # a part of the package
        (folder / f"intel-rapl:{number}:0" / "energy_uj").write_text("77\n")
    return str(folder)


def test_the_contract_is_kept() -> None:
    check_measured_objective(energy(rising()))


def test_millijoules_are_those_of_one_pass() -> None:
    objective = energy(rising())
    bench = Bench(Split(torch.zeros(1, *SHAPE), torch.zeros(1)), False, objective.calibrate())
    (found,) = objective.measure([SubnetCandidate(small_network(1, 4, 2), SHAPE)], bench)
    assert found.value == pytest.approx(5 * 500 / found.repeats)  # half a joule in each of five blocks
    assert found.spread == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("says", [[1.0] * 9, [3.0, 3.0, 2.0]])
def test_a_counter_that_stands_still_or_goes_back_is_a_fault(says: list[float]) -> None:
    objective = energy(iter(says))
    bench = Bench(Split(torch.zeros(1, *SHAPE), torch.zeros(1)), False, objective.calibrate())
    with pytest.raises(DeviceFaultError, match="more than 0 is expected"):
        objective.measure([SubnetCandidate(small_network(1, 4, 2), SHAPE)], bench)


def test_another_device_is_refused() -> None:
    with pytest.raises(StudyChangedError, match="measured on a phone, and the device is now"):
        energy(rising()).check_device({"device": "a phone"})


def test_packages_are_summed_without_their_parts(tmp_path: Path) -> None:
    assert Rapl(packages(tmp_path, 2_000_000, 500_000)).joules() == 2.5


def test_a_machine_without_counters_says_so_at_once(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"tells no energy: there is no .*intel-rapl:0/energy_uj"):
        EnergyMj(Rapl(str(tmp_path))).calibrate()


def test_counters_that_cant_be_read_are_told(tmp_path: Path) -> None:
    folder = packages(tmp_path, 1)
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("")
    with pytest.raises(StudyError, match=r"energy can't be read .* let the administrator make"):
        EnergyMj(Rapl(folder)).calibrate()


@pytest.mark.parametrize(
    "settings",
    [
        {"batch_size": 0},
        {"short_seconds": 0},
        {"long_seconds": float("inf")},
        {"counter": 5},
        {"device": "cpu"},
    ],
)
def test_settings_without_sense_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(StudyError, match=f"{next(iter(settings))}="):
        EnergyMj(**settings)
