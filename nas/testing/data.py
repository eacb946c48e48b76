"""The contract of a data source."""

from __future__ import annotations

import torch

from nas.protocols import (
    DataSource,
    Split,
)


def check_data_source(source: DataSource) -> None:
    """Check a data source.

    Loading twice gives the same splits; the parts fit each other in shape and dtype, hold finite inputs
    and valid labels, and train and search hold every class.

    Args:
        source: Loads the data.

    Raises:
        AssertionError: a promise is broken.
    """
    splits, again = source.load(), source.load()
    assert splits.fingerprint == again.fingerprint, "loading twice gives other data"
    channels = splits.image_shape[0] if len(splits.image_shape) == 3 else 0
    assert len(splits.mean) == len(splits.std) == channels, "mean and std must have one number per channel"
    assert splits.dtype in (torch.float32, torch.int64), (
        f"inputs are {splits.dtype}: float32 or int64 is expected"
    )
    for name in ("train", "search", "test"):
        part: Split = getattr(splits, name)
        assert len(part) > 0, f"{name} is empty"
        assert part.labels.dtype == torch.int64, f"{name}: labels must be int64"
        assert part.images.shape == (len(part), *splits.image_shape), f"{name}: images have another shape"
        for batch in part.batches(1024):
            assert batch.dtype == splits.dtype, f"{name}: inputs are {batch.dtype}, expected {splits.dtype}"
            assert bool(batch.isfinite().all()), f"{name}: a value is not finite"
        inside = (part.labels >= 0) & (part.labels < splits.num_classes)
        assert bool(inside.all()), f"{name}: a label is not in [0, {splits.num_classes})"
        if name != "test":
            assert len(part.labels.unique()) == splits.num_classes, f"{name} lacks a class"
