from __future__ import annotations

import numpy as np
import pytest

from nas.compression.few_values import find_few_values


@pytest.mark.parametrize(("count", "bits"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 4), (16, 4)])
@pytest.mark.parametrize("shape", [(101,), (3, 5, 7)])
def test_numbers_come_back_bit_for_bit_out_of_as_few_bits(
    count: int, bits: int, shape: tuple[int, ...]
) -> None:
    values = np.linspace(-1, 1, count, dtype=np.float32)
    values[0] = -0.0  # which is no other number than 0, but other bits
    numbers = values[np.arange(np.prod(shape)) % count].reshape(shape)
    found = find_few_values(numbers)
    assert found is not None
    assert found.bits == bits
    assert found.positions.nbytes == -(-numbers.size * bits // 8)
    assert found.restore().tobytes() == numbers.tobytes()
    assert found.restore().shape == shape


@pytest.mark.parametrize(
    "numbers",
    [
        np.arange(17, dtype=np.float32),
        np.append(np.zeros(2000), np.arange(17)).astype(np.float32),  # a glance doesn't tell
        np.zeros(0, dtype=np.float32),
    ],
    ids=["many", "many at the end", "none"],
)
def test_more_values_than_four_bits_tell_apart_are_not_few(numbers: np.ndarray) -> None:
    assert find_few_values(numbers) is None
