from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fake_data import write_cityscapes, write_masked_images, write_pets, write_voc
from PIL import Image
from torchvision.datasets import Cityscapes
from torchvision.transforms import v2

from nas.data import DatasetPair, Masks, TorchvisionData
from nas.errors import DataError, NasError
from nas.splits import Split, Splits
from nas.tasks import SemanticSegmentation
from nas.tasks.segmentation import IGNORED
from nas.testing import check_data_source

MASKS = {"target_types": "segmentation"}


def colours(split: Split) -> torch.Tensor:
    """Return the red of every pixel, from which its class can be told."""
    assert isinstance(split.inputs, torch.Tensor)
    return split.inputs[:, 0]


def classes_of(splits: Splits) -> int:
    assert isinstance(splits.task, SemanticSegmentation)
    assert len(splits.task.class_names) in (0, splits.task.num_classes)
    return splits.task.num_classes


def refused(source: DatasetPair | TorchvisionData) -> str:
    with pytest.raises(DataError) as caught:
        source.load()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "write", "options", "classes"),
    [
        ("VOCSegmentation", write_voc, {}, 21),
        ("Cityscapes", write_cityscapes, {}, 19),
        ("OxfordIIITPet", write_pets, MASKS, 2),
    ],
)
def test_data_sets_of_torchvision_are_known_by_name(
    name: str, write: Callable[[Path], None], options: dict[str, Any], classes: int, tmp_path: Path
) -> None:
    write(tmp_path)
    source = TorchvisionData(name, root=tmp_path, options=options)
    check_data_source(source)
    splits = source.load()
    assert classes_of(splits) == classes
    assert (len(splits.train) + len(splits.search), len(splits.test)) == (12, 12)


def test_cityscapes_has_the_classes_that_are_judged(tmp_path: Path) -> None:
    write_cityscapes(tmp_path)
    splits = TorchvisionData("Cityscapes", root=tmp_path).load()
    number = {7 * kind.id: kind.train_id for kind in Cityscapes.classes if kind.id >= 0}
    for colour, expected in number.items():
        found = splits.test.targets[colours(splits.test) == colour].unique().tolist()
        assert found == [expected if 0 <= expected < 19 else IGNORED], colour
    assert splits.facts.names[:2] == ("road", "sidewalk")


def test_pets_are_foreground_and_background_and_their_border_is_ignored(tmp_path: Path) -> None:
    write_pets(tmp_path)
    splits = TorchvisionData("OxfordIIITPet", root=tmp_path, options=MASKS).load()
    expected = {0: 0, 80: 1, 160: IGNORED}
    for colour, number in expected.items():
        assert splits.test.targets[colours(splits.test) == colour].unique().tolist() == [number]


def test_pets_without_masks_are_classified(tmp_path: Path) -> None:
    write_pets(tmp_path)
    splits = TorchvisionData("OxfordIIITPet", root=tmp_path).load()
    assert splits.test.targets.shape == (12,)


def test_a_part_that_the_options_name_is_split(tmp_path: Path) -> None:
    write_voc(tmp_path)
    splits = TorchvisionData("VOCSegmentation", root=tmp_path, options={"image_set": "val"}).load()
    assert len(splits.train) + len(splits.search) + len(splits.test) == 12


def test_options_that_change_items_are_heeded(tmp_path: Path) -> None:
    write_voc(tmp_path)
    plain = TorchvisionData("VOCSegmentation", root=tmp_path).load()
    inverting = {"transforms": lambda image, mask: (v2.functional.invert(image), mask.copy())}
    inverted = TorchvisionData("VOCSegmentation", root=tmp_path, options=inverting).load()
    assert torch.equal(colours(inverted.train), 255 - colours(plain.train))
    assert torch.equal(inverted.train.targets, plain.train.targets)


def test_masks_of_torchvision_can_be_read_in_another_way(tmp_path: Path) -> None:
    write_pets(tmp_path)
    three = Masks(("pet", "background", "border"), values={1: 0, 2: 1, 3: 2})
    splits = TorchvisionData("OxfordIIITPet", root=tmp_path, options=MASKS, masks=three).load()
    assert classes_of(splits) == 3


class Pairs(torch.utils.data.Dataset[Any]):
    """Images and masks in whatever form ``make`` gives them."""

    def __init__(self, root: Path, make: Callable[[Image.Image, Image.Image], object]) -> None:
        self.items = []
        for image, mask in zip(
            sorted((root / "images").iterdir()), sorted((root / "masks").iterdir()), strict=True
        ):
            with Image.open(image) as opened, Image.open(mask) as other:
                self.items.append((opened.copy(), other.copy()))
        self.make = make

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> object:
        return self.make(*self.items[index])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_masked_images(tmp_path / "images", tmp_path / "masks")
    return tmp_path


@pytest.mark.parametrize(
    "make",
    [
        lambda image, mask: (image, mask),
        lambda image, mask: (np.asarray(image), np.asarray(mask)),
        lambda image, mask: (v2.functional.pil_to_tensor(image), v2.functional.pil_to_tensor(mask).long()),
        lambda image, mask: (image, torch.from_numpy(np.asarray(mask).copy()), "more"),
    ],
)
@pytest.mark.parametrize("size", [None, (6, 5)])
def test_pairs_of_any_kind_are_images_and_masks(root: Path, make: Any, size: Any) -> None:
    data = Pairs(root, make)
    source = DatasetPair(data, masks=Masks(), size=size)
    check_data_source(source)
    splits = source.load()
    if size is None:
        assert torch.equal(colours(splits.train) // 80, splits.train.targets)
    assert splits.train.targets.shape[1:] == (size or (12, 10))
    assert classes_of(splits) == 3


def test_a_second_data_set_is_the_test_part(root: Path) -> None:
    data = Pairs(root, lambda image, mask: (image, mask))
    other = Pairs(root, lambda image, mask: (Image.eval(image, lambda value: value + 1), mask))
    splits = DatasetPair(data, other, masks=Masks(3)).load()
    assert (len(splits.train), len(splits.search), len(splits.test)) == (24, 6, 30)


def test_masks_that_cannot_be_used_are_named(root: Path) -> None:
    data = Pairs(
        root, lambda image, mask: (image, np.asarray(mask) * (100 if image.getpixel((0, 0))[2] == 4 else 1))
    )
    message = refused(DatasetPair(data, name="mine", masks=Masks(3)))
    assert "1 of 30 items can't be used: item 4 of the train part of mine" in message


def test_masks_that_change_are_refused(root: Path) -> None:
    rng = np.random.default_rng(0)
    data = Pairs(root, lambda image, mask: (image, rng.integers(0, 3, (12, 10))))
    assert "gives another image or mask each time" in refused(DatasetPair(data, masks=Masks()))


def test_masks_where_labels_are_expected_say_what_to_state(root: Path) -> None:
    data = Pairs(root, lambda image, mask: (image, mask))
    assert "where they are masks, state masks=Masks()" in refused(DatasetPair(data))


@pytest.mark.parametrize("item", [3, (Image.new("L", (4, 4)),), (Image.new("L", (4, 4)), "x")])
def test_items_that_are_no_pairs_are_a_sentence(root: Path, item: object) -> None:
    message = refused(DatasetPair(Pairs(root, lambda _image, _mask: item), masks=Masks()))
    assert "item 0 of the train part" in message


@pytest.mark.parametrize(
    "make", [lambda: DatasetPair([], masks=3), lambda: TorchvisionData("MNIST", masks=Masks)]
)
def test_masks_of_another_kind_are_refused(make: Callable[[], object]) -> None:
    with pytest.raises(NasError, match="masks="):
        make()
