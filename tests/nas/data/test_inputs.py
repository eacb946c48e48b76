from __future__ import annotations

import pytest
import torch

from nas.data.inputs import blank, placed
from nas.protocols import Split

CPU = torch.device("cpu")


def test_images_come_channels_last_and_other_inputs_as_they_are() -> None:
    images = torch.randn(2, 3, 4, 5)
    assert placed(images, CPU).is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(placed(images, CPU), images)
    tokens = torch.arange(6).reshape(2, 3)
    assert placed(tokens, CPU) is tokens


@pytest.mark.parametrize(("dtype", "value"), [(torch.float32, 0), (torch.int64, 1)])
def test_blank_inputs_are_no_padding(dtype: torch.dtype, value: int) -> None:
    inputs = blank(2, (3, 4), dtype)
    assert inputs.shape == (2, 3, 4)
    assert inputs.dtype == dtype
    assert (inputs == value).all()


def test_bytes_are_normalised_per_batch_and_floats_are_not_changed() -> None:
    images = torch.randint(0, 256, (9, 3, 4, 4), dtype=torch.uint8)
    mean, std = (10.0, 20.0, 30.0), (2.0, 4.0, 8.0)
    expected = (images - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    for stored in (images, images.float()):
        kept = stored.clone()
        split = Split(stored, torch.zeros(9, dtype=torch.int64), mean, std)
        assert torch.equal(torch.cat(list(split.batches(4))), expected)
        assert torch.equal(split.batch(torch.tensor([7, 2])), expected[[7, 2]])
        assert torch.equal(split.images, kept)


def test_mapped_images_stay_where_they_are() -> None:
    labels = torch.zeros(2, dtype=torch.int64)
    meta = torch.device("meta")
    assert Split(torch.zeros(2, 1, 3, 3), labels, mapped=True).to(meta).images.device == CPU
    assert Split(torch.zeros(2, 1, 3, 3), labels).to(meta).images.device == meta
