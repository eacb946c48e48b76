"""The contract of a surrogate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import final

import numpy as np
import torch

from nas.choices import choice
from nas.space import Condition, FloatArray, IntArray, SearchSpace
from nas.strategy import MakeSurrogate, Prediction, Surrogate
from nas.testing.promises import Contract, Promise

_ROWS, _QUERIES = 30, 9
_DRAWS = 400
"""Enough that the mean of draws is off by a twentieth of a deviation, and the allowed half of one is no accident."""


@Contract
def check_surrogate(make: MakeSurrogate) -> Sequence[Promise]:
    """Check a surrogate.

    All randomness comes from the generator; fitting again forgets; shapes are right; std is positive and
    finite; draws scatter about the mean by it; constant costs, equal rows and two rows are fine; choices that
    don't matter are ignored; predictions don't depend on the other rows.

    Args:
        make: Makes an untrained surrogate.

    Raises:
        BrokenPromisesError: promises are broken.
    """
    case = _Case(make)
    return [
        Promise("arrays that it is given stay as they are", case.check_arrays_stay),
        Promise("all randomness comes from the generator", case.check_reproducible),
        Promise("fitting again forgets", case.check_forgets),
        Promise("predicting and sampling change nothing", case.check_predicting_changes_nothing),
        Promise("a row is predicted by itself", case.check_rows_are_independent),
        Promise("draws scatter about the mean by the deviation", case.check_draws),
        *(Promise(f"{name} can be learned", partial(case.check_example, name)) for name in case.examples),
    ]


@final
@dataclass(frozen=True)
class _Case:
    make: MakeSurrogate

    @cached_property
    def _arrays(self) -> tuple[IntArray, FloatArray, IntArray]:
        """Rows, their costs, and queries."""
        rng = np.random.default_rng(0)
        space = _make_space()
        rows, queries = space.sample_indices(_ROWS, rng), space.sample_indices(_QUERIES, rng)
        encodings = space.encode(rows)
        slopes = rng.normal(size=encodings.shape[1]), rng.uniform(size=encodings.shape[1])
        costs = np.stack([encodings @ slopes[0], 1e6 * (1 + encodings @ slopes[1])], axis=1)
        return rows, costs, queries

    @property
    def _queries(self) -> IntArray:
        return self._arrays[2].copy()

    @cached_property
    def examples(self) -> dict[str, tuple[IntArray, FloatArray]]:
        """Rows and their costs, by what is special about them."""
        rows, costs, _ = self._arrays
        return {
            "thirty rows": (rows, costs),
            "constant costs": (rows, np.full((_ROWS, 2), 3.0)),
            "constant zero costs": (rows, np.zeros((_ROWS, 2))),
            "one constant column": (rows, np.column_stack([costs[:, 0], np.ones(_ROWS)])),
            "equal rows": (np.tile(rows[0], (_ROWS, 1)), costs),
            "two rows": (rows[:2], costs[:2]),
            "two equal rows": (rows[[0, 0]], costs[[0, 0]]),
            "one objective": (rows, costs[:, :1]),
            "twelve objectives": (rows, np.tile(costs, (1, 6))),
        }

    def _example(self, name: str) -> tuple[IntArray, FloatArray]:
        """Return copies, because a surrogate may change what it is given."""
        rows, costs = self.examples[name]
        return rows.copy(), costs.copy()

    def _fit(self, name: str = "thirty rows") -> Surrogate:
        surrogate = self.make(_make_space())
        surrogate.fit(*self._example(name), np.random.default_rng(0))
        return surrogate

    @cached_property
    def _predicted(self) -> Prediction:
        return self._fit().predict(self._queries)

    def check_example(self, name: str) -> None:
        num_objectives = self._example(name)[1].shape[1]
        _check_prediction(self._fit(name).predict(self._queries), (_QUERIES, num_objectives), name)

    def check_arrays_stay(self) -> None:
        given = (*self._example("thirty rows"), self._queries)
        kept = [array.copy() for array in given]
        surrogate = self.make(_make_space())
        surrogate.fit(given[0], given[1], np.random.default_rng(0))
        surrogate.predict(given[2])
        unchanged = all(map(np.array_equal, kept, given))
        assert unchanged, "the surrogate changes the arrays it is given"

    def check_reproducible(self) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            same = self._fit().predict(self._queries)
        assert _equal(self._predicted, same), "equal data and generator state must give equal predictions"

    def check_forgets(self) -> None:
        surrogate = self.make(_make_space())
        rows, costs = self._example("thirty rows")
        surrogate.fit(rows[::2], -5.0 * costs[::2, :1], np.random.default_rng(7))
        surrogate.fit(rows, costs, np.random.default_rng(0))
        again = surrogate.predict(self._queries)
        assert _equal(self._predicted, again), "fitting again must forget earlier data"

    def check_predicting_changes_nothing(self) -> None:
        surrogate = self._fit()
        first = surrogate.predict(self._queries)
        surrogate.sample(self._queries, 3, np.random.default_rng(0))
        again = surrogate.predict(self._queries)
        assert _equal(first, again), "predicting must not change the surrogate"

    def check_rows_are_independent(self) -> None:
        surrogate = self._fit()
        beside, alone = surrogate.predict(self._queries), surrogate.predict(self._queries[4:5])
        _check_prediction(alone, (1, 2), "one query")
        near = np.allclose(alone.mean[0], beside.mean[4], rtol=1e-4) and np.allclose(
            alone.std[0], beside.std[4], rtol=1e-3
        )
        assert near, "the prediction of a row must not depend on the rows beside it"

    def check_draws(self) -> None:
        surrogate = self._fit()
        predicted = surrogate.predict(self._queries)
        draws, again = (surrogate.sample(self._queries, _DRAWS, np.random.default_rng(1)) for _ in range(2))
        wanted = (_DRAWS, _QUERIES, 2)
        assert draws.shape == wanted, f"sample() gives shape {draws.shape}, expected {wanted}"
        assert np.array_equal(draws, again), "equal generator states must give equal draws"
        assert np.isfinite(draws).all(), "a draw is not finite"
        off = np.abs(draws.mean(axis=0) - predicted.mean) / predicted.std
        assert off.max() < 0.5, "draws are not centred on the prediction"
        spread = draws.std(axis=0) / predicted.std
        assert spread.max() < 1.5, "draws scatter more than the predicted standard deviation"


def _make_space() -> SearchSpace:
    """Return numbers, words, a pair of choices with the same options, and a choice that matters only sometimes."""
    return SearchSpace(
        (
            choice("width", 8, 16, 24, 32),
            choice("first", "relu", "gelu", "none"),
            choice("second", "relu", "gelu", "none"),
            choice("depth", 0, 1),
            choice("kernel", 3, 5, 7),
        ),
        {"kernel": ((Condition("depth", (1,)),),)},
    )


def _equal(a: Prediction, b: Prediction) -> bool:
    return np.array_equal(a.mean, b.mean) and np.array_equal(a.std, b.std)


def _check_prediction(prediction: Prediction, shape: tuple[int, int], case: str) -> None:
    for name, array in (("mean", prediction.mean), ("std", prediction.std)):
        assert array.shape == shape, f"{case}: {name} has shape {array.shape}, expected {shape}"
        assert array.dtype == np.float64, f"{case}: {name} is {array.dtype}, expected float64"
        assert np.isfinite(array).all(), f"{case}: {name} is not finite"
    assert (prediction.std > 0).all(), f"{case}: std is not positive"
