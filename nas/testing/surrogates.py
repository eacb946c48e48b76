"""The contract of a surrogate."""

from __future__ import annotations

import numpy as np
import torch

from nas.choices import choice
from nas.space import Condition, FloatArray, IntArray, SearchSpace
from nas.strategy import MakeSurrogate, Prediction


def check_surrogate(make: MakeSurrogate) -> None:
    """Check a surrogate.

    All randomness comes from the generator; fitting again forgets; shapes are right; std is positive and
    finite; draws scatter about the mean by it; constant costs, equal rows and two rows are fine; choices that
    don't matter are ignored; predictions don't depend on the other rows.

    Args:
        make: Makes an untrained surrogate.

    Raises:
        AssertionError: a promise is broken.
    """
    rng = np.random.default_rng(0)
    space = _surrogate_space()
    rows, queries = space.sample_indices(30, rng), space.sample_indices(9, rng)
    encodings = space.encode(rows)
    slopes = rng.normal(size=encodings.shape[1]), rng.uniform(size=encodings.shape[1])
    costs = np.stack([encodings @ slopes[0], 1e6 * (1 + encodings @ slopes[1])], axis=1)
    kept = rows.copy(), costs.copy(), queries.copy()
    first = _fit_and_predict(make, rows, costs, queries)
    unchanged = all(map(np.array_equal, kept, (rows, costs, queries)))
    assert unchanged, "the surrogate changes the arrays it is given"
    _check_prediction(first, (9, 2), "thirty rows")
    _check_surrogate_state(make, rows, costs, queries, first)
    _check_draws(make, rows, costs, queries)
    cases = {
        "constant costs": (rows, np.full((30, 2), 3.0)),
        "constant zero costs": (rows, np.zeros((30, 2))),
        "one constant column": (rows, np.column_stack([costs[:, 0], np.ones(30)])),
        "equal rows": (np.tile(rows[0], (30, 1)), costs),
        "two rows": (rows[:2], costs[:2]),
        "two equal rows": (rows[[0, 0]], costs[[0, 0]]),
        "one objective": (rows, costs[:, :1]),
        "twelve objectives": (rows, np.tile(costs, (1, 6))),
    }
    for case, (some, values) in cases.items():
        _check_prediction(_fit_and_predict(make, some, values, queries), (9, values.shape[1]), case)


def _surrogate_space() -> SearchSpace:
    """Numbers, words, a pair of choices with the same options, and one that matters only sometimes."""
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


def _check_surrogate_state(
    make: MakeSurrogate, rows: IntArray, costs: FloatArray, queries: IntArray, first: Prediction
) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        same = _fit_and_predict(make, rows, costs, queries)
    assert _equal(first, same), "equal data and generator state must give equal predictions"
    surrogate = make(_surrogate_space())
    surrogate.fit(rows[::2], -5.0 * costs[::2, :1], np.random.default_rng(7))
    surrogate.fit(rows, costs, np.random.default_rng(0))
    assert _equal(first, surrogate.predict(queries)), "fitting again must forget earlier data"
    surrogate.sample(queries, 3, np.random.default_rng(0))
    assert _equal(first, surrogate.predict(queries)), "predicting must not change the surrogate"
    alone = surrogate.predict(queries[4:5])
    _check_prediction(alone, (1, 2), "one query")
    near = np.allclose(alone.mean[0], first.mean[4], rtol=1e-4) and np.allclose(
        alone.std[0], first.std[4], rtol=1e-3
    )
    assert near, "the prediction of a row must not depend on the rows beside it"


def _check_draws(make: MakeSurrogate, rows: IntArray, costs: FloatArray, queries: IntArray) -> None:
    surrogate = make(_surrogate_space())
    surrogate.fit(rows, costs, np.random.default_rng(0))
    predicted = surrogate.predict(queries)
    draws, again = (surrogate.sample(queries, 400, np.random.default_rng(1)) for _ in range(2))
    assert draws.shape == (400, 9, 2), f"sample() gives shape {draws.shape}, expected (400, 9, 2)"
    assert np.array_equal(draws, again), "equal generator states must give equal draws"
    assert np.isfinite(draws).all(), "a draw is not finite"
    off = np.abs(draws.mean(axis=0) - predicted.mean) / predicted.std
    assert off.max() < 0.5, "draws are not centred on the prediction"
    spread = draws.std(axis=0) / predicted.std
    assert spread.max() < 1.5, "draws scatter more than the predicted standard deviation"


def _fit_and_predict(make: MakeSurrogate, rows: IntArray, costs: FloatArray, queries: IntArray) -> Prediction:
    surrogate = make(_surrogate_space())
    surrogate.fit(rows, costs, np.random.default_rng(0))
    return surrogate.predict(queries)


def _equal(a: Prediction, b: Prediction) -> bool:
    return np.array_equal(a.mean, b.mean) and np.array_equal(a.std, b.std)


def _check_prediction(prediction: Prediction, shape: tuple[int, int], case: str) -> None:
    for name, array in (("mean", prediction.mean), ("std", prediction.std)):
        assert array.shape == shape, f"{case}: {name} has shape {array.shape}, expected {shape}"
        assert array.dtype == np.float64, f"{case}: {name} is {array.dtype}, expected float64"
        assert np.isfinite(array).all(), f"{case}: {name} is not finite"
    assert (prediction.std > 0).all(), f"{case}: std is not positive"
