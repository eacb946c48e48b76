from __future__ import annotations

import numpy as np
import pytest

from nas.choices import choice
from nas.devices import LatencyModel
from nas.devices.latency_features import Known, know_nothing
from nas.errors import StudyError
from nas.space import Condition, FloatArray, IntArray, SearchSpace

SPACE = SearchSpace(
    (
        choice("depth", 2, 3, 4),
        choice("width", 16, 24, 32, 48),
        *(choice(f"layer{i}.kernel", "1x1", "3x3", "pool") for i in range(4)),
    ),
    {f"layer{i}.kernel": ((Condition("depth", options),),) for i, options in ((2, (3, 4)), (3, (4,)))},
)
OTHERS = SPACE.sample_indices(300, np.random.default_rng(7))


def latencies(indices: IntArray, kernels: tuple[float, float, float], fixed: float) -> FloatArray:
    """Return milliseconds of layers one after another, wider ones slower."""
    active = SPACE.active(indices)[:, 2:]
    per_layer = np.array(kernels)[indices[:, 2:]] * active
    return fixed + per_layer.sum(axis=1) * np.array([16, 24, 32, 48])[indices[:, 1]] / 32


def here(indices: IntArray) -> FloatArray:
    return latencies(indices, (1.0, 4.0, 0.5), 2.0)


def there(indices: IntArray) -> FloatArray:
    """Return what another device says: slower, and pooling costs it more."""
    return latencies(indices, (3.0, 15.0, 4.0), 3.0)[:, None]


def trained(known: Known, count: int) -> LatencyModel:
    model = LatencyModel(SPACE, known)
    candidates = SPACE.sample_indices(200, np.random.default_rng(1))
    chosen = candidates[model.choose(candidates, count)]
    model.fit(chosen, here(chosen))
    return model


def error(model: LatencyModel) -> float:
    return float(np.mean(np.abs(model.predict(OTHERS).ms / here(OTHERS) - 1)))


@pytest.mark.parametrize(("count", "largest"), [(10, 0.13), (20, 0.06), (50, 0.03)])
def test_few_measurements_tell_the_latency_of_all_architectures(count: int, largest: float) -> None:
    assert error(trained(there, count)) < largest


def test_another_device_saves_measurements() -> None:
    assert error(trained(there, 10)) < error(trained(know_nothing, 10)) / 2


def test_a_column_that_says_nothing_does_little_harm() -> None:
    def useless(indices: IntArray) -> FloatArray:
        noise = np.exp(np.sin(1e4 * (indices @ np.arange(1, 7) + 1)))
        return np.column_stack([there(indices), noise])

    assert error(trained(useless, 20)) < 2 * error(trained(there, 20))


def test_intervals_hold_noisy_measurements_about_as_often_as_they_state() -> None:
    rng = np.random.default_rng(3)
    chosen = SPACE.sample_indices(60, rng)
    model = LatencyModel(SPACE, there)
    stated = model.fit(chosen, here(chosen) * np.exp(0.05 * rng.standard_normal(60)))
    measured = here(OTHERS) * np.exp(0.05 * rng.standard_normal(len(OTHERS)))
    predicted = model.predict(OTHERS)
    covered = np.mean((predicted.low <= measured) & (measured <= predicted.high))
    assert 0.83 <= covered <= 0.97
    off = float(np.mean(np.abs(predicted.ms / measured - 1)))
    assert off / 1.5 < stated.error < 1.5 * off
    assert stated.count == 60
    assert (predicted.std > 0).all()


@pytest.mark.parametrize("factor", [1e-4, 1.0, 1e4])
def test_the_unit_does_not_matter(factor: float) -> None:
    chosen = SPACE.sample_indices(20, np.random.default_rng(3))
    model = LatencyModel(SPACE, lambda indices: there(indices) / factor)
    model.fit(chosen, factor * here(chosen))
    usual = LatencyModel(SPACE, there)
    usual.fit(chosen, here(chosen))
    assert np.allclose(model.predict(OTHERS).ms, factor * usual.predict(OTHERS).ms, rtol=1e-3)


def test_the_same_measurements_give_the_same_predictions_and_choices() -> None:
    first, second = trained(there, 20), trained(there, 20)
    assert np.array_equal(first.predict(OTHERS).high, second.predict(OTHERS).high)
    assert np.array_equal(first.choose(OTHERS, 5), second.choose(OTHERS, 5))


@pytest.mark.parametrize("measured", [None, OTHERS[:3]])
def test_chosen_architectures_differ_and_are_as_many_as_there_are(measured: IntArray | None) -> None:
    chosen = trained(there, 10).choose(OTHERS[:8], 20, measured)
    assert sorted(chosen.tolist()) == list(range(8))


def test_an_architecture_known_already_is_not_what_tells_most() -> None:
    candidates = np.concatenate([OTHERS[:1], OTHERS[-1:]])
    assert LatencyModel(SPACE, there).choose(candidates, 1, np.repeat(candidates[:1], 20, axis=0)) == [1]


@pytest.mark.parametrize("ms", [[3.0], [3.0, 0.0], [3.0, -1.0], [3.0, np.nan], [3.0, np.inf]])
def test_latencies_that_are_none_are_refused(ms: list[float]) -> None:
    with pytest.raises(StudyError, match="two or more finite ones above 0"):
        LatencyModel(SPACE).fit(OTHERS[: len(ms)], np.array(ms))


def test_equal_latencies_are_predicted_as_they_are() -> None:
    model = LatencyModel(SPACE)
    model.fit(OTHERS[:5], np.full(5, 3.0))
    assert np.allclose(model.predict(OTHERS).ms, 3.0, rtol=0.02)
