from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from fakes import NearestSurrogate

from nas.space import FloatArray, IntArray, SearchSpace
from nas.strategy import Prediction
from nas.testing import (
    check_surrogate,
)


class Changed(NearestSurrogate):
    """A nearest-neighbour surrogate with one fault."""

    def __init__(self, fault: str, space: SearchSpace) -> None:
        super().__init__(space)
        self.fault = fault

    def fit(self, indices: IntArray, costs: FloatArray, rng: np.random.Generator) -> None:
        if self.fault == "remembers" and hasattr(self, "_encodings"):
            return
        if self.fault == "global":
            rng = np.random.default_rng(int(torch.randint(1000, ())))
        if self.fault == "changes data":
            costs -= costs.mean(axis=0)
        if self.fault == "two rows" and len(costs) < 3:
            raise ValueError("too few")
        super().fit(indices, costs, rng)
        self._noise = rng.normal()

    def sample(self, indices: IntArray, count: int, rng: np.random.Generator) -> FloatArray:
        draws = super().sample(indices, count, rng)
        if self.fault == "draws beside":
            return draws + 3 * super().predict(indices).std
        if self.fault == "draws too wide":
            return 3 * draws - 2 * draws.mean(axis=0)
        if self.fault == "draws of another shape":
            return draws[0]
        return draws

    def predict(self, indices: IntArray) -> Prediction:
        good = super().predict(indices)
        if self.fault == "zero std":
            return Prediction(good.mean, np.zeros_like(good.std))
        if self.fault == "std is NaN":
            return Prediction(good.mean, np.full_like(good.std, np.nan))
        if self.fault == "shape":
            return Prediction(good.mean[:, 0], good.std)
        if self.fault == "float32":
            return Prediction(good.mean.astype(np.float32), good.std)  # type: ignore[arg-type]
        if self.fault == "batch":
            return Prediction(good.mean - good.mean.mean(axis=0), good.std)
        if self.fault == "drifts":
            self._noise += 1.0
        return Prediction(good.mean + self._noise, good.std)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("remembers", "must forget"),
        ("global", "equal data and generator state"),
        ("changes data", "changes the arrays"),
        ("two rows", "too few"),
        ("zero std", "std is not positive"),
        ("std is NaN", "std is not finite"),
        ("shape", "mean has shape"),
        ("float32", "mean is float32"),
        ("batch", "rows beside"),
        ("drifts", "must not change the surrogate"),
        ("draws beside", "not centred"),
        ("draws too wide", "scatter more"),
        ("draws of another shape", "sample\\(\\) gives shape"),
    ],
)
def test_a_faulty_surrogate_is_found(fault: str, message: str) -> None:
    with pytest.raises((AssertionError, ValueError), match=message):
        check_surrogate(partial(Changed, fault))


def test_a_surrogate_that_keeps_every_promise_passes() -> None:
    check_surrogate(NearestSurrogate)
