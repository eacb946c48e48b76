"""The contract of a data source."""

from __future__ import annotations

from nas.data.loading import check_splits
from nas.errors import DataError
from nas.splits import DataSource
from nas.tasks import Classification


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
    try:
        check_splits(splits, f"load() of {type(source).__name__}")
    except DataError as error:
        raise AssertionError(str(error)) from error
    assert splits.fingerprint == again.fingerprint, "loading twice gives other data"
    inputs = splits.inputs
    channels = inputs.shapes[0][0] if inputs.is_image else 0
    assert len(splits.mean) == channels, "mean and std must have one number per channel"
    if isinstance(splits.task, Classification):
        for name, part in (("train", splits.train), ("search", splits.search)):
            assert len(part.targets.unique()) == splits.task.num_classes, f"{name} lacks a class"
