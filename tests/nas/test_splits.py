from __future__ import annotations

import pytest
import torch

from nas.splits import Split

PIXELS = torch.arange(40 * 2 * 3 * 3, dtype=torch.int64).remainder(251).to(torch.uint8).view(40, 2, 3, 3)
BYTES = Split(PIXELS, torch.arange(40) // 10, mean=(10.0, 20.0), std=(2.0, 4.0))
"""Images as they were read, sorted by class."""


def test_bytes_are_normalised_as_they_are_used_and_floats_are_as_they_are() -> None:
    images = BYTES.batch(slice(4, 6))
    assert isinstance(images, torch.Tensor)
    assert torch.equal(images[:, 0], (PIXELS[4:6, 0].float() - 10) / 2)
    assert torch.equal(images[:, 1], (PIXELS[4:6, 1].float() - 20) / 4)
    floats = Split(torch.randn(3, 2), torch.arange(3))
    assert torch.equal(floats.batch(slice(0, 3)), floats.inputs)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [7, 40, 100])
def test_batches_hold_every_row_once_in_order(size: int) -> None:
    batches = list(BYTES.batches(size))
    assert torch.equal(torch.cat(batches), BYTES.batch(slice(0, 40)))  # type: ignore[arg-type]
    assert max(map(len, batches)) == min(size, 40)


def test_a_sample_is_the_same_every_time_and_not_of_one_class() -> None:
    split = Split(torch.arange(40.0)[:, None], BYTES.targets)
    sample = split.sample(12)
    assert isinstance(sample, torch.Tensor)
    assert torch.equal(sample, split.sample(12))  # type: ignore[arg-type]
    assert len(sample.unique()) == 12
    assert len({int(row) // 10 for row in sample}) > 2
    assert len(split.sample(99)) == 40


def test_a_part_is_a_split_of_its_own_in_memory() -> None:
    split = Split((torch.arange(8.0)[:, None], torch.arange(8)), torch.arange(8) * 2, mapped=True)
    part = split.subset(torch.tensor([5, 1]))
    assert not part.mapped
    assert [rows.flatten().tolist() for rows in part.inputs] == [[5, 1], [5, 1]]
    assert part.targets.tolist() == [10, 2]
    assert part.inputs[0].data_ptr() != split.inputs[0].data_ptr()
