"""Loading what a study names as its data, and checking that it is what training takes."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from nas.checks import failing_as, told
from nas.errors import DataError
from nas.protocols import DataSource, Split, Splits

_ROWS = 1024


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
    wanted = "the Splits of nas.protocols, such as nas.data.split_images makes,"
    _demand(isinstance(splits, Splits), f"{holder} {told(splits)}", wanted)
    for name in ("name", "fingerprint"):
        value = getattr(splits, name)
        _demand(isinstance(value, str) and value != "", f"{holder} {name}={told(value)}", "a string")
    for name in ("class_names", "vocabulary"):
        value = getattr(splits, name)
        _demand(
            _hold(value, str), f"{holder} {name}={told(value)}", "a tuple of strings, which may be empty,"
        )
    count = splits.num_classes
    whole = isinstance(count, int) and not isinstance(count, bool) and count > 1
    _demand(whole, f"{holder} num_classes={told(count)}", "an integer from 2 on")
    for name in ("train", "search", "test"):
        part = getattr(splits, name)
        if name == "test" and _stands_for_split(part):
            continue
        _demand(isinstance(part, Split), f"{holder} {name}={told(part)}", "a Split of nas.protocols")
        what = f"the {name} split that {origin} returned has"
        _check_tensors(part, what)
        _check_images(part, splits.train.images, what)
        _check_labels(part, count, what)
    _check_normalisation(splits, splits.image_shape, holder)


def _stands_for_split(part: object) -> bool:
    """Whether this is a class of the user's own that keeps the split closed until the winners are measured."""
    return not isinstance(part, Split) and callable(getattr(type(part), "batches", None))


def _check_tensors(part: Split, what: str) -> None:
    for name in ("images", "labels"):
        value = getattr(part, name)
        _demand(isinstance(value, Tensor), f"{what} {name}={told(value)}", "a tensor")
        stated = f"{what} {name} on {value.device}, {value.layout}, with requires_grad={value.requires_grad}"
        plain = value.device.type == "cpu" and value.layout == torch.strided and not value.requires_grad
        _demand(plain, stated, "a dense tensor on the CPU that was detached")


def _check_images(part: Split, trained_on: Tensor, what: str) -> None:
    images, shape = part.images, tuple(part.images.shape)
    _demand(len(shape) > 1 and min(shape) > 0, f"{what} images of shape {shape}", "(n, *shape), nowhere 0,")
    alike = (shape[1:], images.dtype) == (trained_on.shape[1:], trained_on.dtype)
    like = f"{trained_on.dtype} of shape (n, *{tuple(trained_on.shape[1:])}) as in train"
    _demand(alike, f"{what} images of {images.dtype} and shape {shape}", like)
    _check_normalisation(part, shape[1:], what)
    dtype = part.batch(slice(0, 1)).dtype
    wanted = "float32, int64 ids, or bytes with mean and std,"
    _demand(dtype in (torch.float32, torch.int64), f"{what} batches of {dtype}", wanted)
    if images.is_floating_point() and not part.mapped:  # a mapped file takes long to read once more
        finite = all(bool(chunk.isfinite().all()) for chunk in images.split(_ROWS))
        _demand(finite, f"{what} values that are NaN or infinite", "clean data")


def _check_normalisation(holder: Split | Splits, shape: tuple[int, ...], what: str) -> None:
    mean, std = holder.mean, holder.std
    numbers = all(_hold(values, float | int) and all(map(math.isfinite, values)) for values in (mean, std))
    fit = numbers and len(mean) == len(std) and all(deviation > 0 for deviation in std)
    fit = fit and (not mean or (len(shape) == 3 and len(mean) == shape[0]))
    wanted = f"a finite number each for every channel of {shape}, std positive, or none at all,"
    _demand(fit, f"{what} mean={mean!r} and std={std!r}", wanted)


def _check_labels(part: Split, num_classes: int, what: str) -> None:
    labels, count = part.labels, len(part.images)
    stated = f"{what} labels of {labels.dtype} and shape {tuple(labels.shape)}"
    fit = labels.dtype == torch.int64 and labels.shape == (count,)
    _demand(fit, stated, f"torch.int64 of shape ({count},), the class of each item,")
    first, last = int(labels.min()), int(labels.max())
    inside = first >= 0 and last < num_classes
    _demand(
        inside,
        f"{what} labels from {first} to {last}",
        f"a class from 0 to {num_classes - 1}, as num_classes says,",
    )


def _hold(values: Any, kind: Any) -> bool:
    return isinstance(values, tuple | list) and all(isinstance(value, kind) for value in values)


def _demand(holds: bool, what: str, wanted: str) -> None:
    if not holds:
        raise DataError(f"{what}: {wanted} is expected.")
