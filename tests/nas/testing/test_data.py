from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from fakes import FewDigits
from torch import Tensor

from nas.splits import Splits
from nas.testing import (
    check_data_source,
)


@dataclass
class Source:
    change: Callable[[Splits], Splits]
    loads: int = 0

    def load(self) -> Splits:
        self.loads += 1
        splits = self.change(FewDigits().load())
        return dataclasses.replace(splits, fingerprint=f"{self.loads}") if self.change is same else splits


def same(splits: Splits) -> Splits:
    return splits


def with_train(splits: Splits, **changes: Tensor) -> Splits:
    return dataclasses.replace(splits, train=dataclasses.replace(splits.train, **changes))


@pytest.mark.parametrize(
    "change",
    [
        same,
        lambda s: with_train(s, inputs=s.train.inputs.double()),
        lambda s: with_train(s, targets=s.train.targets.int()),
        lambda s: with_train(s, targets=s.train.targets + 1),
        lambda s: with_train(s, targets=s.train.targets * 0),
        lambda s: with_train(s, inputs=s.train.inputs / 0.0),
        lambda s: with_train(s, inputs=s.train.inputs[:-1]),
        lambda s: dataclasses.replace(s, mean=()),
    ],
)
def test_a_faulty_source_is_found(change: Callable[[Splits], Splits]) -> None:
    with pytest.raises(AssertionError):
        check_data_source(Source(change))


def test_a_source_that_keeps_every_promise_passes() -> None:
    check_data_source(FewDigits())
