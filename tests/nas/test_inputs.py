from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from nas.errors import DataError
from nas.inputs import InputSpec, call_network, count_items, map_inputs, place_inputs, split_items, take_items
from nas.splits import Split

CPU = torch.device("cpu")


def test_images_come_channels_last_and_other_inputs_as_they_are() -> None:
    images = torch.randn(2, 3, 4, 5)
    assert place_inputs(images, CPU).is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(place_inputs(images, CPU), images)
    tokens = torch.arange(6).reshape(2, 3)
    assert place_inputs(tokens, CPU) is tokens


@pytest.mark.parametrize(("dtype", "value"), [(torch.float32, 0), (torch.int64, 1)])
def test_blank_inputs_are_no_padding(dtype: torch.dtype, value: int) -> None:
    inputs = InputSpec.of_one((3, 4), dtype).blank(2)
    assert isinstance(inputs, Tensor)
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
        assert torch.equal(split.inputs, kept)


def test_mapped_images_stay_where_they_are() -> None:
    labels = torch.zeros(2, dtype=torch.int64)
    meta = torch.device("meta")
    assert Split(torch.zeros(2, 1, 3, 3), labels, mapped=True).to(meta).inputs.device == CPU
    assert Split(torch.zeros(2, 1, 3, 3), labels).to(meta).inputs.device == meta


def test_several_inputs_are_the_arguments_of_a_network() -> None:
    class Both(nn.Module):
        def forward(self, images: Tensor, ids: Tensor) -> Tensor:
            return images.flatten(1).sum(1) + ids.sum(1)

    pair = (torch.randn(5, 1, 2, 2), torch.arange(15).reshape(5, 3))
    spec = InputSpec.of_batch(pair, ("images", "ids"))
    assert spec.shapes == ((1, 2, 2), (3,))
    assert not spec.is_image
    assert not spec.is_ids
    assert [form["dtype"] for form in spec.describe()] == ["float32", "int64"]
    blank = spec.blank(4)
    assert count_items(blank) == 4
    assert torch.equal(call_network(Both(), blank), torch.full((4,), 3.0))
    parts = list(split_items(pair, 2))
    assert [count_items(part) for part in parts] == [2, 2, 1]
    assert torch.equal(torch.cat([call_network(Both(), part) for part in parts]), Both()(*pair))
    assert torch.equal(take_items(pair, torch.tensor([4]))[1], pair[1][4:])
    assert map_inputs(lambda tensor: tensor * 2, pair)[1].tolist() == (pair[1] * 2).tolist()
    split = Split(pair, torch.zeros(5, dtype=torch.int64))
    assert count_items(split.sample(3)) == 3
    assert count_items(split.subset(torch.tensor([1, 3])).inputs) == 2


def test_every_input_has_a_name() -> None:
    with pytest.raises(DataError, match="one of each"):
        InputSpec.of_batch(torch.zeros(2, 3), ("a", "b"))
