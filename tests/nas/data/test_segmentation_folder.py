from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fake_data import write_masked_images
from PIL import ExifTags, Image

from nas.data import SegmentationFolder
from nas.data.loading import check_splits
from nas.errors import DataError, NasError
from nas.splits import Split, Splits
from nas.tasks import SemanticSegmentation
from nas.tasks.segmentation import IGNORED
from nas.testing import check_data_source


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_masked_images(tmp_path / "images", tmp_path / "masks")
    return tmp_path


def source(root: Path, **settings: Any) -> SegmentationFolder:
    return SegmentationFolder(root / "images", root / "masks", **settings)


def parts_of(splits: Splits) -> tuple[Split, Split, Split]:
    return splits.train, splits.search, splits.test


def numbers(split: Split) -> list[int]:
    """Return the number of every image, as it is written in its colour."""
    assert isinstance(split.inputs, torch.Tensor)
    return split.inputs[:, 2, 0, 0].tolist()


def all_numbers(splits: Splits) -> list[int]:
    return [number for part in parts_of(splits) for number in numbers(part)]


def refused(data: SegmentationFolder) -> str:
    with pytest.raises(DataError) as caught:
        data.load()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def mask_of(root: Path, number: int) -> Path:
    return root / "masks" / f"{number:03}.png"


def test_the_contract_is_kept(root: Path) -> None:
    check_data_source(source(root))
    check_data_source(source(root, size=6, channels=1, classes=("a", "b", "c")))


def test_every_image_is_in_one_part_with_its_mask(root: Path) -> None:
    splits = source(root).load()
    check_splits(splits, "load()")
    for part in parts_of(splits):
        assert isinstance(part.inputs, torch.Tensor)
        assert part.targets.dtype == torch.uint8
        assert torch.equal(part.inputs[:, 0] // 80, part.targets)
    assert sorted(all_numbers(splits)) == list(range(30))
    assert [len(part) for part in parts_of(splits)] == [18, 6, 6]
    assert splits.task == SemanticSegmentation(3)
    assert splits.name == "images"


def test_an_official_test_part_is_the_test_split(root: Path) -> None:
    write_masked_images(root / "later" / "images", root / "later" / "masks", count=4, seed=1)
    official = {"test_images": root / "later" / "images", "test_masks": root / "later" / "masks"}
    splits = source(root, **official, name="mine").load()
    assert [len(part) for part in parts_of(splits)] == [24, 6, 4]
    assert (splits.name, numbers(splits.test)) == ("mine", [0, 1, 2, 3])


def write_official(root: Path, *parts: str) -> dict[str, Path]:
    """Write four images with masks for each part, the other way than those of train, and return their folders."""
    found = {}
    for seed, part in enumerate(parts, start=1):
        found |= {f"{part}_{what}": root / part / what for what in ("images", "masks")}
        write_masked_images(root / part / "images", root / part / "masks", count=4, seed=seed)
    return found


@pytest.mark.parametrize(
    ("parts", "sizes"), [(("search",), [24, 4, 6]), (("search", "test"), [30, 4, 4]), (("test",), [24, 6, 4])]
)
def test_an_official_part_is_a_split_as_it_is(root: Path, parts: tuple[str, ...], sizes: list[int]) -> None:
    splits = source(root, **write_official(root, *parts)).load()
    assert [len(part) for part in parts_of(splits)] == sizes
    for part in parts:
        assert numbers(getattr(splits, part)) == [0, 1, 2, 3]
        assert torch.equal(getattr(splits, part).inputs[:, 0] // 80, getattr(splits, part).targets)


def test_the_fingerprint_follows_an_official_search_part(root: Path) -> None:
    official = write_official(root, "search")
    before = source(root, **official).load().fingerprint
    mask = root / "search" / "masks" / "000.png"
    values = np.asarray(Image.open(mask)).copy()
    values[0, 0] = 255
    Image.fromarray(values).save(mask)
    assert source(root, **official).load().fingerprint != before


def test_a_limit_leaves_the_parts_in_proportion(root: Path) -> None:
    splits = source(root, **write_official(root, "search", "test"), limit=17).load()
    assert [len(part) for part in parts_of(splits)] == [15, 2, 4]
    assert splits.name == "images, 17 of 34"


def test_an_official_search_part_of_images_that_train_is_refused(root: Path) -> None:
    for what in ("images", "masks"):
        (root / "copies" / what).mkdir(parents=True)
        for number in range(6):
            (root / "copies" / what / f"{number:03}.png").write_bytes(
                (root / what / f"{number:03}.png").read_bytes()
            )
    data = source(root, search_images=root / "copies" / "images", search_masks=root / "copies" / "masks")
    assert "items of the search split of images are in train too" in refused(data)


def test_masks_are_found_in_folders_below_and_by_their_suffix(root: Path) -> None:
    for kind, ending in (("images", ".png"), ("masks", "_L.png")):
        (root / kind / "town").mkdir()
        for path in sorted((root / kind).glob("*.png")):
            path.rename(root / kind / "town" / f"{path.stem}{ending}")
    splits = source(root, mask_suffix="_L").load()
    assert sum(map(len, parts_of(splits))) == 30


def test_mixed_sizes_become_one(root: Path) -> None:
    large = Image.open(root / "images" / "000.png").resize((40, 30))
    large.save(root / "images" / "000.png")
    Image.open(mask_of(root, 0)).resize((40, 30), Image.Resampling.NEAREST).save(mask_of(root, 0))
    assert "size=(height, width)" in refused(source(root))
    splits = source(root, size=(8, 6)).load()
    assert splits.train.targets.shape[1:] == (8, 6)


def test_masks_beyond_the_memory_share_lie_in_files_and_are_found_again(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))
    small = source(root, memory_share=1e-12)
    splits = small.load()
    assert splits.train.mapped
    assert splits.fingerprint == source(root).load().fingerprint
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()}
    assert len(written) == 6
    opened, really_open = [], Image.open
    with monkeypatch.context() as counted:
        counted.setattr(Image, "open", lambda path: opened.append(path) or really_open(path))
        assert small.load().fingerprint == splits.fingerprint
    assert len(set(opened)) <= 3, "the first mask, its image, and the first image of train, for their form"
    assert written == {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()}
    for change in ({"size": 6}, {"ignored": 3}):
        assert dataclasses.replace(small, **change).load().fingerprint is not None
    Image.fromarray(np.ones((12, 10), np.uint8)).save(mask_of(root, 0))
    assert small.load().fingerprint != splits.fingerprint


def test_every_class_is_in_every_part_however_rare(root: Path) -> None:
    for number in (3, 11, 28):
        mask = np.asarray(Image.open(mask_of(root, number))).copy()
        mask[5, 5] = 3
        Image.fromarray(mask).save(mask_of(root, number))
    for seed in range(4):
        splits = source(root, seed=seed).load()
        assert [int((part.targets == 3).sum()) for part in parts_of(splits)] == [1, 1, 1]


def test_ignored_pixels_are_255_whatever_their_value(root: Path) -> None:
    splits = source(root, classes=2, ignored=2).load()
    assert splits.task == SemanticSegmentation(2)
    for part in parts_of(splits):
        assert part.ignored == IGNORED
        assert isinstance(part.inputs, torch.Tensor)
        assert torch.equal(part.targets == IGNORED, part.inputs[:, 0] == 160)


def test_photos_and_masks_turn_together(root: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    for path in (root / "images").iterdir():
        Image.open(path).save(path, exif=exif)
    splits = source(root).load()
    assert isinstance(splits.train.inputs, torch.Tensor)
    assert splits.train.inputs.shape[1:] == (3, 10, 12)
    assert torch.equal(splits.train.inputs[:, 0] // 80, splits.train.targets)


def spoil(root: Path) -> None:
    """Make five masks that can't be used, each in another way."""
    good = np.asarray(Image.open(mask_of(root, 0)))
    Image.fromarray(good[:-2]).save(mask_of(root, 0))
    Image.fromarray(np.where(good == 2, 17, good).astype(np.uint8)).save(mask_of(root, 2))
    Image.fromarray(np.full_like(good, 255)).save(mask_of(root, 4))
    Image.fromarray(np.stack([good] * 3, -1)).save(mask_of(root, 6))
    mask_of(root, 8).write_bytes(b"no image")


def test_masks_that_cannot_be_used_are_counted_and_named_before_images_are_decoded(root: Path) -> None:
    spoil(root)
    for path in (root / "images").iterdir():
        path.write_bytes(path.read_bytes()[:45])  # whole as far as the size is stated
    message = refused(source(root, classes=3))
    assert "5 of 30 items can't be used" in message
    for words in (
        f"{mask_of(root, 0)} (the mask is 10x10 and the image 10x12)",
        f"{mask_of(root, 2)} (",
        "values such as 17, and 0 to 2, or 255 for what is ignored, are expected",
        f"{mask_of(root, 4)} (all pixels of the mask are ignored)",
        f"{mask_of(root, 6)} (the mask holds colours or floats (mode RGB)",
        str(mask_of(root, 8)),
        "skip_corrupt=True",
    ):
        assert words in message


def test_masks_and_images_that_cannot_be_used_are_left_out_together(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spoil(root)
    (root / "images" / "010.png").write_bytes((root / "images" / "010.png").read_bytes()[:60])
    mask_of(root, 12).unlink()
    (root / "images" / "014.png").unlink()
    with caplog.at_level(logging.WARNING):
        splits = source(root, skip_corrupt=True, classes=3).load()
    assert sorted(all_numbers(splits)) == sorted(set(range(30)) - {0, 2, 4, 6, 8, 10, 12, 14})
    for part in parts_of(splits):
        assert isinstance(part.inputs, torch.Tensor)
        assert torch.equal(part.inputs[:, 0] // 80, part.targets)
    assert "1 of 29 images" in caplog.text


def test_images_without_masks_and_masks_without_images_are_counted_and_named(root: Path) -> None:
    for number in (1, 2):
        mask_of(root, number).unlink()
    (root / "images" / "003.png").unlink()
    message = refused(source(root))
    assert "2 of 29 images in" in message
    assert "1 of 28 masks in" in message
    for name in ("001.png", "002.png", "003.png", "mask_suffix", "skip_corrupt=True"):
        assert name in message


def test_a_class_that_is_too_rare_is_named(root: Path) -> None:
    message = refused(source(root, classes=("sky", "road", "car", "pole")))
    assert "class 3 ('pole') is in 0 of 30 masks" in message
    mask = np.asarray(Image.open(mask_of(root, 0))).copy()
    mask[5, 5] = 7
    Image.fromarray(mask).save(mask_of(root, 0))
    message = refused(source(root))
    assert "class 3 is in 0 of 30 masks of images, and 4 other classes are as rare" in message


def test_a_part_that_lacks_a_class_is_named(root: Path) -> None:
    write_masked_images(root / "later" / "images", root / "later" / "masks", count=3, classes=2, seed=1)
    data = source(root, test_images=root / "later" / "images", test_masks=root / "later" / "masks")
    assert "the test split has no item of class 2" in refused(data)


def test_one_class_is_nothing_to_learn(root: Path) -> None:
    assert "there is nothing to learn" in refused(source(root, values={0: 0, 1: 0, 2: None}))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"images": "absent"}, "there is no folder"),
        ({"images": "masks"}, "name a folder for each"),
        ({"images": "empty", "masks": "bare"}, "holds no images"),
        ({"test_images": "later"}, "state both, or none"),
        ({"search_masks": "later"}, "search_images is None and search_masks is .*: state both, or none"),
        ({"search_images": "images", "search_masks": "later"}, "images and search_images are both"),
        ({"channels": 2}, "channels is 2"),
        ({"masks": 3}, "masks=3"),
        ({"mask_suffix": None}, "mask_suffix=None"),
        ({"classes": 1}, "classes is 1"),
    ],
)
def test_settings_that_say_nothing_are_refused(root: Path, settings: dict[str, Any], words: str) -> None:
    for name in ("empty", "bare"):
        (root / name).mkdir()
    stated = {"images": "images", "masks": "masks", **settings}
    for name in ("images", "masks", "test_images", "search_images", "search_masks"):
        if isinstance(stated.get(name), str):
            stated[name] = root / stated[name]
    with pytest.raises(NasError, match=words) as caught:
        SegmentationFolder(**stated).load()
    assert "\n" not in str(caught.value)


def test_two_images_of_one_name_are_refused(root: Path) -> None:
    Image.open(root / "images" / "000.png").save(root / "images" / "000.bmp")
    assert "have the same name but for the ending" in refused(source(root))


def test_other_files_are_counted(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    (root / "masks" / "classes.txt").write_text("sky")
    with caplog.at_level(logging.WARNING):
        source(root).load()
    assert "1 .txt" in caplog.text
