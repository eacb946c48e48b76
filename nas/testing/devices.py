"""The contract of devices."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from nas.devices import Device, Session
from nas.devices.device import time_turns
from nas.errors import ExportError, kind_and_line
from nas.evaluation.onnx_export import export_onnx
from nas.inputs import Form, InputSpec
from nas.testing.promises import Contract, Promise

_IMAGES = (3, 16, 16)
_SMALL, _LARGE = 2, 48
"""Channels: the second network has two hundred times the work of the first, which no noise hides."""
_BATCH = 8
"""Items that surely take more than twice as long as one, whatever a pass costs besides."""


@Contract
def check_device(device: Device) -> Sequence[Promise]:
    """Check a device: a steady identity, times of what was asked for in the order asked for, and that it survives.

    It must run convolutions, linear layers and a table of embeddings, with one input or several. The networks are
    small, and one of them has two hundred times the work of the other.

    Args:
        device: To check.

    Raises:
        BrokenPromisesError: promises are broken.
        AssertionError: it is no device.
    """
    assert isinstance(device, Device), f"{device!r} lacks identity() or open()"
    return [
        Promise("it says what it is in one line, the same every time", partial(_check_identity, device)),
        Promise("it times what it is asked for, in the order asked for", partial(_check_order, device)),
        Promise("the batch size is kept", partial(_check_batches, device)),
        Promise("networks of several inputs, and of ids, run", partial(_check_inputs, device)),
        Promise("what is no network is refused, and it serves on", partial(_check_malformed, device)),
    ]


def _check_order(device: Device) -> None:
    small, large = (_export(_convolutions(width), _IMAGES) for width in (_SMALL, _LARGE))
    with device.open([small, large], 1) as session:
        times = _times(session, [0, 1, 1, 0], 8)
        usual = np.median(times, axis=1)
        assert usual[[1, 2]].min() > usual[[0, 3]].max(), (
            f"two hundred times the work in turns 1 and 2 of 0 to 3, and their runs take {usual.tolist()} seconds: "
            "the order isn't kept, or what is timed isn't the network"
        )
        _times(session, [1, 0, 1], 2)


def _check_identity(device: Device) -> None:
    identity = device.identity()
    assert isinstance(identity, str), f"identity() gives {identity!r}, expected a string"
    is_line = identity.strip() == identity and len(identity.splitlines()) == 1
    assert is_line, f"identity() gives {identity!r}, expected one line"
    assert device.identity() == identity, "identity() gives another line the second time"
    assert repr(device) == repr(copy.deepcopy(device)), (
        f"{device!r} and a copy of it have different representations: a study's fingerprint needs a stable one, as "
        "frozen dataclasses have it"
    )


def _times(session: Session, order: list[int], runs: int) -> np.ndarray:
    """Return ``(turns, runs)`` seconds, checked.

    Judge them by their medians: others may slow a run down, and a thread's clock may stand still during a part of one.
    """
    timings = time_turns(session, order, runs)
    assert 0 <= timings.cpu_share <= 1, f"cpu_share is {timings.cpu_share}, expected a share of 1"
    return timings.seconds


def _check_batches(device: Device) -> None:
    model, found = _export(_convolutions(_LARGE), _IMAGES), []
    for size in (1, _BATCH):
        with device.open([model], size) as session:
            found.append(float(np.median(_times(session, [0], 5))))
    assert found[1] > 2 * found[0], (
        f"{_BATCH} items take {found[1]} seconds and one takes {found[0]}: the batch size isn't kept"
    )


def _check_inputs(device: Device) -> None:
    spec = InputSpec(("ids", "numbers"), ((5,), (6,)), (torch.int64, torch.float32))
    models = [_export(_IdsAndNumbers(), spec), _export(_convolutions(_SMALL), _IMAGES)]
    with device.open(models, 3) as session:
        _times(session, [0, 1, 0], 2)


def _check_malformed(device: Device) -> None:
    model = _export(_convolutions(_SMALL), _IMAGES)
    for what, broken in (("a text", b"this is no network"), ("half a model", model[: len(model) // 2])):
        told = _catch_refusal(device, [model, broken])
        assert isinstance(told, ExportError), (
            f"open() of {what} {f'raises {kind_and_line(told)}' if told else 'raises nothing'}, expected "
            "nas.errors.ExportError with what the runtime says"
        )
        with device.open([model], 1) as session:
            _times(session, [0], 1)


def _catch_refusal(device: Device, models: Sequence[bytes]) -> Exception | None:
    try:
        with device.open(models, 1):
            return None
    except Exception as error:  # whatever the device's runtime raises
        return error


def _export(module: nn.Module, form: Form) -> bytes:
    return export_onnx(module.eval(), form)


def _convolutions(width: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(width, 10),
        )


class _IdsAndNumbers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.table = nn.Embedding(11, 8)
            self.head = nn.Linear(8 + 6, 4)

    def forward(self, ids: Tensor, numbers: Tensor) -> Tensor:
        output: Tensor = self.head(torch.cat([self.table(ids).mean(dim=1), numbers], dim=1))
        return output
