"""All devices of this machine keep the contract, and it finds what it is there to find."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from boards import Board

from nas.devices import Device, Mnn, OnnxRuntime, OpenVino, Session, Timings
from nas.testing import check_device


def needs(package: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(importlib.util.find_spec(package) is None, reason=f"{package} isn't installed")


@pytest.mark.parametrize(
    "device",
    [
        OnnxRuntime(),
        pytest.param(OpenVino(), marks=needs("openvino")),
        pytest.param(Mnn(), marks=needs("MNN")),
    ],
    ids=repr,
)
def test_devices_keep_the_contract(device: Device) -> None:
    check_device(device)


@dataclass(frozen=True)
class Computed:
    """Loads networks as ONNX Runtime does; their times follow from the sizes of files and batches, so no noise hides
    a fault.
    """

    def identity(self) -> str:
        return "computed"

    @contextlib.contextmanager
    def open(self, models: Sequence[bytes], batch_size: int) -> Iterator[Session]:
        with OnnxRuntime().open(models, batch_size), Board().open(models, batch_size) as session:
            yield session


def test_a_device_without_a_fault_is_found_good() -> None:
    check_device(Computed())


@dataclass(frozen=True)
class Changed:
    """A device with one fault."""

    fault: Callable[[Timings], Timings]

    def identity(self) -> str:
        return "a device with a fault"

    @contextlib.contextmanager
    def open(self, models: Sequence[bytes], batch_size: int) -> Iterator[Session]:
        with Computed().open(models, batch_size) as session:
            yield ChangedSession(session, self.fault)


@dataclass(frozen=True)
class ChangedSession:
    session: Session
    fault: Callable[[Timings], Timings]

    def time(self, order: Sequence[int], runs: int) -> Timings:
        return self.fault(self.session.time(order, runs))


def longer_share(timings: Timings) -> Timings:
    return replace(timings, cpu_share=1.5)


def sorted_turns(timings: Timings) -> Timings:
    return replace(timings, seconds=np.sort(timings.seconds, axis=0))


def a_run_less(timings: Timings) -> Timings:
    return replace(timings, seconds=timings.seconds[:, 1:])


@pytest.mark.parametrize(
    ("fault", "says"),
    [(longer_share, "cpu_share"), (sorted_turns, "the order isn't kept"), (a_run_less, "of shape")],
)
def test_times_that_were_not_asked_for_are_found(fault: Callable[[Timings], Timings], says: str) -> None:
    with pytest.raises(AssertionError, match=says):
        check_device(Changed(fault))


class Lists:
    """A session whose times are lists, of which each lacks one."""

    def time(self, order: Sequence[int], runs: int) -> Timings:
        return Timings([[1.0] * (runs - 1)] * len(order))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Other:
    """A device with a session that is not made from one of ours."""

    error: Exception | None = None

    def identity(self) -> str:
        return "a device of its own"

    @contextlib.contextmanager
    def open(self, models: Sequence[bytes], batch_size: int) -> Iterator[Session]:
        if self.error is not None:
            raise self.error
        yield Lists()


def test_lists_of_another_length_are_told_what_was_asked() -> None:
    with pytest.raises(AssertionError, match=r"asked for 4 turns of 8 runs .*\(4, 7\): \(4, 8\) is expected"):
        check_device(Other())


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (KeyError("Protobuf"), "open.* of a text raises KeyError.*expected nas.errors.ExportError"),
        (None, "open.* of a text raises nothing"),
    ],
)
def test_what_is_no_network_must_be_refused_by_an_error_of_ours(error: Exception | None, said: str) -> None:
    with pytest.raises(AssertionError, match=f"what is no network is refused, and it serves on: {said}"):
        check_device(Other(error))


@dataclass(frozen=True)
class OneItem:
    """Runs one item, however many are asked for."""

    def identity(self) -> str:
        return "a device that ignores the batch"

    def open(self, models: Sequence[bytes], batch_size: int) -> contextlib.AbstractContextManager[Session]:
        return Computed().open(models, 1)


def test_a_batch_that_is_ignored_is_found() -> None:
    with pytest.raises(AssertionError, match="the batch size isn't kept"):
        check_device(OneItem())


@dataclass(frozen=True)
class Named:
    """A device of another name every time."""

    names: Iterator[str] = field(default_factory=lambda: map(str, itertools.count()))

    def identity(self) -> str:
        return next(self.names)

    def open(self, models: Sequence[bytes], batch_size: int) -> contextlib.AbstractContextManager[Session]:
        return Computed().open(models, batch_size)


@pytest.mark.parametrize(
    ("device", "says"),
    [(Named(), "another line"), (Named(itertools.repeat("two\nlines")), "expected one line")],
)
def test_an_identity_that_is_none_is_found(device: Device, says: str) -> None:
    with pytest.raises(AssertionError, match=says):
        check_device(device)
