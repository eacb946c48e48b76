"""The contract of a data source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import final

from nas.data.loading import check_splits
from nas.splits import DataSource, Splits
from nas.tasks import Classification
from nas.testing.promises import Contract, Promise


@Contract
def check_data_source(source: DataSource) -> Sequence[Promise]:
    """Check a data source.

    Loading twice gives the same splits; the parts fit each other in shape and dtype, hold finite inputs
    and valid labels, and train and search hold every class.

    Args:
        source: Loads the data.

    Raises:
        BrokenPromisesError: promises are broken.
        AssertionError: it is no data source.
    """
    assert isinstance(source, DataSource), f"{source!r} has no load()"
    case = _Case(source)
    return [
        Promise("splits fit each other and the task", case.check_splits),
        Promise("loading twice gives the same data", case.check_same_again),
        Promise("mean and std are those of the channels", case.check_channels),
        Promise("train and search hold every class", case.check_classes),
    ]


@final
@dataclass(frozen=True)
class _Case:
    source: DataSource

    @cached_property
    def _splits(self) -> Splits:
        return self.source.load()

    def check_splits(self) -> None:
        check_splits(self._splits, f"load() of {type(self.source).__name__}")

    def check_same_again(self) -> None:
        again = self.source.load()
        assert self._splits.fingerprint == again.fingerprint, "loading twice gives other data"

    def check_channels(self) -> None:
        inputs = self._splits.inputs
        channels = inputs.shapes[0][0] if inputs.is_image else 0
        assert len(self._splits.mean) == channels, "mean and std must have one number per channel"

    def check_classes(self) -> None:
        if isinstance(self._splits.task, Classification):
            for name, part in (("train", self._splits.train), ("search", self._splits.search)):
                found = len(part.targets.unique())
                assert found == self._splits.task.num_classes, f"{name} lacks a class"
