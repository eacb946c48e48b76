"""Loading what a study names as its data, and checking that it is what training takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from nas.checks import failing_as, quote
from nas.errors import DataError
from nas.inputs import as_tuple
from nas.splits import DataSource, Split, Splits
from nas.task import Task

_ROWS = 1024
"""Items at a time, so that a split that is mapped from a file is never in memory as a whole."""


def load_splits(source: DataSource) -> Splits:
    """Return what a data source loads, checked.

    Raises:
        DataError: it can't be loaded, or is not three splits that fit each other; says what to mend.
    """
    origin = f"load() of {type(source).__name__}"
    with failing_as(DataError, f"{origin} failed", "mend it, or the data that it reads"):
        splits = source.load()
    check_splits(splits, origin)
    return splits


def check_splits(splits: Splits, origin: str) -> None:
    """Check that splits are what training, measuring and model cards take.

    Args:
        splits: Whatever a user's code made.
        origin: Begins the sentence: what made them.

    Raises:
        DataError: they are not; says what is expected.
    """
    holder = f"{origin} returned"
    wanted = "the Splits of nas.splits, such as nas.data.split_images makes,"
    _demand(isinstance(splits, Splits), f"{holder} {quote(splits)}", wanted)
    for name in ("name", "fingerprint"):
        value = getattr(splits, name)
        _demand(isinstance(value, str) and value != "", f"{holder} {name}={quote(value)}", "a string")
    for name in ("vocabulary", "input_names", "notes"):
        value = getattr(splits, name)
        _demand(
            _hold(value, str), f"{holder} {name}={quote(value)}", "a tuple of strings, which may be empty,"
        )
    _demand(
        isinstance(splits.task, Task) and not isinstance(splits.task, type),
        f"{holder} task={quote(splits.task)}",
        "an instance with loss(), imitation(), fault() and facts(), such as Classification(10),",
    )
    for name in ("train", "search", "test", "unlabelled"):
        part = getattr(splits, name)
        if (name == "test" and _stands_for_split(part)) or (name == "unlabelled" and part is None):
            continue
        _demand(isinstance(part, Split), f"{holder} {name}={quote(part)}", "a Split of nas.splits")
        what = f"the {name} split that {origin} returned has"
        tensors = _check_tensors(part, splits.input_names, what)
        for position, tensor in enumerate(tensors):
            _check_inputs(part, tensor, as_tuple(splits.train.inputs)[position], what)
        if name != "unlabelled":
            _check_targets(part, splits.task, len(tensors[0]), f"the {name} split that {origin} returned")
    _check_normalisation(splits, _shapes(splits.train), holder)


def _stands_for_split(part: object) -> bool:
    """Whether this is a class of the user's own that keeps the split closed until the winners are measured."""
    return not isinstance(part, Split) and callable(getattr(type(part), "batch", None))


def _check_tensors(part: Split, names: Sequence[str], what: str) -> tuple[Tensor, ...]:
    """Return the input tensors, after a look at what kind of tensors these and the targets are."""
    tensors = part.inputs if isinstance(part.inputs, tuple) else (part.inputs,)
    wanted = f"a tensor for each of input_names={tuple(names)}"
    _demand(len(tensors) == len(names), f"{what} {len(tensors)} inputs", wanted)
    for name, value in [*(("inputs", tensor) for tensor in tensors), ("targets", part.targets)]:
        _demand(isinstance(value, Tensor), f"{what} {name}={quote(value)}", "a tensor")
        stated = f"{what} {name} on {value.device}, {value.layout}, with requires_grad={value.requires_grad}"
        plain = value.device.type == "cpu" and value.layout == torch.strided and not value.requires_grad
        _demand(plain, stated, "a dense tensor on the CPU that was detached")
    return tensors


def _check_inputs(part: Split, values: Tensor, trained_on: Tensor, what: str) -> None:
    shape = tuple(values.shape)
    _demand(len(shape) > 1 and min(shape) > 0, f"{what} inputs of shape {shape}", "(n, *shape), nowhere 0,")
    alike = (shape[1:], values.dtype) == (trained_on.shape[1:], trained_on.dtype)
    like = f"{trained_on.dtype} of shape (n, *{tuple(trained_on.shape[1:])}) as in train"
    _demand(alike, f"{what} inputs of {values.dtype} and shape {shape}", like)
    _check_normalisation(part, _shapes(part), what)
    for batch in as_tuple(part.batch(slice(0, 1))):
        wanted = "float32, int64 ids, or bytes with mean and std,"
        _demand(batch.dtype in (torch.float32, torch.int64), f"{what} batches of {batch.dtype}", wanted)
    if values.is_floating_point() and not part.mapped:  # a mapped file takes long to read once more
        finite = all(bool(chunk.isfinite().all()) for chunk in values.split(_ROWS))
        _demand(finite, f"{what} values that are NaN or infinite", "clean data")


def _shapes(part: Split) -> list[tuple[int, ...]]:
    return [tuple(tensor.shape[1:]) for tensor in as_tuple(part.inputs)]


def _check_normalisation(holder: Split | Splits, shapes: Sequence[tuple[int, ...]], what: str) -> None:
    mean, std = holder.mean, holder.std
    numbers = all(_hold(values, float | int) and all(map(math.isfinite, values)) for values in (mean, std))
    fit = numbers and len(mean) == len(std) and all(deviation > 0 for deviation in std)
    (shape, *others) = shapes
    fit = fit and (not mean or (not others and len(shape) == 3 and len(mean) == shape[0]))
    wanted = f"a finite number each for every channel of {shape}, std positive, or none at all,"
    _demand(fit, f"{what} mean={mean!r} and std={std!r}", wanted)


def _check_targets(part: Split, task: Task, count: int, what: str) -> None:
    targets = part.targets
    _demand(len(targets) == count, f"{what} has {len(targets)} targets", f"one for each of {count} inputs")
    with failing_as(DataError, f"fault() of the task {task!r} failed", "mend it"):
        fault = task.fault(targets)
    if fault is not None:
        raise DataError(f"{what} doesn't fit its task: {fault}.")


def _hold(values: Any, kind: Any) -> bool:
    return isinstance(values, tuple | list) and all(isinstance(value, kind) for value in values)


def _demand(holds: bool, what: str, wanted: str) -> None:
    if not holds:
        raise DataError(f"{what}: {wanted} is expected.")
