from __future__ import annotations

import dataclasses
import logging
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_data import write_image_folder
from PIL import ExifTags, Image

from nas.data import ImageFolder
from nas.data.loading import check_splits
from nas.errors import DataError, NasError
from nas.splits import Split, Splits
from nas.testing import check_data_source


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_image_folder(tmp_path / "images", per_class=10)
    return tmp_path / "images"


def shades(split: Split) -> set[tuple[int, int]]:
    """Return class and number of every image, as they are written in its colour."""
    return {(int(image[0, 0, 0]) // 40, int(image[1, 0, 0]) // 10) for image in split.inputs}


def refused(source: ImageFolder) -> str:
    with pytest.raises(DataError) as caught:
        source.load()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_contract_is_kept(root: Path) -> None:
    check_data_source(ImageFolder(root))
    check_data_source(ImageFolder(root, size=16, channels=1))


def test_every_image_is_in_one_part_with_its_class(root: Path) -> None:
    splits = ImageFolder(root).load()
    parts = (splits.train, splits.search, splits.test)
    assert set.union(*map(shades, parts)) == {(label, n) for label in range(3) for n in range(10)}
    assert sum(len(part) for part in parts) == 30
    for part in parts:
        assert [int(i[0, 0, 0]) // 40 for i in part.inputs] == part.targets.tolist()
    assert splits.facts.names == ("a", "b", "c")
    assert splits.inputs.shapes == ((3, 12, 10),)
    assert splits.train.inputs.dtype == torch.uint8


def test_the_same_folder_cannot_be_both_parts(root: Path) -> None:
    with pytest.raises(DataError, match="another folder as test_root"):
        ImageFolder(root, test_root=root / "a" / "..")


def test_batches_are_normalised_with_the_statistics_of_train(root: Path) -> None:
    train = ImageFolder(root).load().train
    batch = train.batch(slice(None))
    assert batch.dtype == torch.float32
    assert batch.mean((0, 2, 3)).abs().max() < 1e-5
    assert torch.allclose(batch[:, :2].std((0, 2, 3)), torch.ones(2), atol=1e-2)
    assert train.inputs.dtype == torch.uint8, "what is stored must not change"


def test_an_official_test_part_is_the_test_split(root: Path, tmp_path: Path) -> None:
    write_image_folder(tmp_path / "later", per_class=2, blue=100)
    splits = ImageFolder(root, test_root=tmp_path / "later").load()
    assert (len(splits.train) + len(splits.search), len(splits.test)) == (30, 6)


def test_a_limit_keeps_the_classes_in_proportion_and_is_in_the_name(root: Path) -> None:
    splits = ImageFolder(root, limit=15).load()
    labels = torch.cat([splits.train.targets, splits.search.targets, splits.test.targets])
    assert torch.bincount(labels).tolist() == [5, 5, 5]
    assert splits.name == "images, 15 of 30"


def test_seed_size_and_pixels_are_in_the_fingerprint(root: Path) -> None:
    source = ImageFolder(root)
    sources = [source, *(dataclasses.replace(source, **change) for change in ({"seed": 1}, {"size": 8}))]
    fingerprints = [s.load().fingerprint for s in sources]
    Image.new("RGB", (10, 12), (1, 2, 3)).save(root / "a" / "000.png")
    fingerprints.append(source.load().fingerprint)
    assert len(set(fingerprints)) == 4


def test_images_of_mixed_sizes_need_a_stated_size(root: Path) -> None:
    Image.new("RGB", (30, 20), (0, 0, 200)).save(root / "a" / "000.png")
    message = refused(ImageFolder(root))
    assert "(3, 20, 30)" in message
    assert "size=" in message
    assert ImageFolder(root, size=(9, 7)).load().inputs.shapes == ((3, 9, 7),)


def damage(root: Path) -> None:
    (root / "a" / "000.png").write_bytes(b"no image")
    whole = (root / "b" / "001.png").read_bytes()
    (root / "b" / "001.png").write_bytes(whole[: len(whole) // 2])
    (root / "c" / "002.png").write_bytes(b"")


def test_corrupt_files_are_counted_and_named(root: Path) -> None:
    damage(root)
    message = refused(ImageFolder(root))
    assert "3 of 30" in message
    for name in ("000.png", "001.png", "002.png", "skip_corrupt=True"):
        assert name in message


def test_corrupt_files_are_left_out_where_allowed(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    damage(root)
    with caplog.at_level(logging.WARNING):
        splits = ImageFolder(root, skip_corrupt=True).load()
    assert "3 of 30" in caplog.text
    seen = set.union(*map(shades, (splits.train, splits.search, splits.test)))
    assert seen == {(label, n) for label in range(3) for n in range(10)} - {(0, 0), (1, 1), (2, 2)}
    for part in (splits.train, splits.search, splits.test):
        assert [int(i[0, 0, 0]) // 40 for i in part.inputs] == part.targets.tolist()


def test_a_class_whose_only_search_image_is_corrupt_is_a_sentence(root: Path) -> None:
    for path in (root / "a").glob("*.png"):
        if path.name != "003.png":
            path.write_bytes(b"no image")
    message = refused(ImageFolder(root, skip_corrupt=True))
    assert "no item of class 0 ('a')" in message


@pytest.mark.parametrize("skip", [False, True])
def test_a_folder_of_no_readable_image_is_a_sentence(tmp_path: Path, skip: bool) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        for number in range(4):
            (tmp_path / name / f"{number}.jpg").write_bytes(b"no image")
    assert "can be read" in refused(ImageFolder(tmp_path, skip_corrupt=skip))


def test_what_is_no_image_folder_is_a_sentence(tmp_path: Path, root: Path) -> None:
    assert "no folder" in refused(ImageFolder(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    assert "one folder of images per class" in refused(ImageFolder(tmp_path / "empty"))
    (root / "d").mkdir()
    assert "d" in refused(ImageFolder(root))


def test_one_class_and_rare_classes_are_a_sentence(tmp_path: Path) -> None:
    write_image_folder(tmp_path / "one", classes="a")
    assert "one class" in refused(ImageFolder(tmp_path / "one"))
    write_image_folder(tmp_path / "rare", per_class=2)
    assert "at least 3" in refused(ImageFolder(tmp_path / "rare"))


def test_parts_are_not_taken_for_classes(tmp_path: Path) -> None:
    write_image_folder(tmp_path / "train")
    write_image_folder(tmp_path / "val")
    assert "test_root" in refused(ImageFolder(tmp_path))


def test_other_classes_in_the_test_part_are_a_sentence(root: Path, tmp_path: Path) -> None:
    write_image_folder(tmp_path / "later", classes="abd")
    assert "['c', 'd']" in refused(ImageFolder(root, test_root=tmp_path / "later"))


@pytest.mark.parametrize(
    "change",
    [
        {"size": 0},
        {"size": (3, -1)},
        {"limit": 0},
        {"search_share": 0.0},
        {"search_share": float("nan")},
        {"search_share": 0.6, "test_share": 0.5},
        {"memory_share": 0.0},
        {"channels": 2},
        {"channels": "3"},
        {"size": "32"},
        {"size": 3.5},
        {"size": True},
        {"size": ()},
        {"limit": "100"},
        {"limit": 1.5},
        {"test_limit": True},
        {"search_share": "0.2"},
        {"test_share": None},
        {"memory_share": "all"},
        {"seed": None},
        {"seed": -1},
        {"skip_corrupt": "no"},
        {"test_root": 5},
    ],
)
def test_arguments_out_of_range_are_a_sentence(root: Path, change: dict[str, object]) -> None:
    with pytest.raises(NasError, match=rf"{next(iter(change))}( is |=| )"):
        ImageFolder(root, **change)  # type: ignore[arg-type]


def test_too_small_a_limit_is_a_sentence(root: Path) -> None:
    assert "every class" in refused(ImageFolder(root, limit=2))


@pytest.fixture
def small_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr("nas.data.decoding.memory_bytes", lambda: 1000)
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def same(a: Splits, b: Splits) -> bool:
    return a.fingerprint == b.fingerprint and all(
        torch.equal(getattr(a, part).inputs, getattr(b, part).inputs) for part in ("train", "search", "test")
    )


def test_what_does_not_fit_in_memory_is_the_same_from_a_file(root: Path, small_memory: Path) -> None:
    held = ImageFolder(root, memory_share=1e9).load()
    mapped = ImageFolder(root).load()
    assert same(held, mapped)
    assert (held.train.mapped, mapped.train.mapped) == (False, True)
    assert torch.equal(held.train.batch(torch.tensor([3, 1])), mapped.train.batch(torch.tensor([3, 1])))


def test_a_file_of_decoded_images_is_read_again(root: Path, small_memory: Path) -> None:
    first = ImageFolder(root).load()
    (content,) = small_memory.glob("*.bin")
    time = content.stat().st_mtime_ns
    assert same(first, ImageFolder(root).load())
    assert content.stat().st_mtime_ns == time


def test_changed_images_are_decoded_anew(root: Path, small_memory: Path) -> None:
    first = ImageFolder(root).load()
    Image.new("RGB", (10, 12), (7, 7, 7)).save(root / "a" / "000.png")
    os.utime(root / "a" / "000.png", ns=(1, 1))
    assert not same(first, ImageFolder(root).load())


def test_what_was_left_out_is_remembered(root: Path, small_memory: Path) -> None:
    damage(root)
    first = ImageFolder(root, skip_corrupt=True).load()
    again = ImageFolder(root, skip_corrupt=True).load()
    assert same(first, again)
    assert torch.equal(first.train.targets, again.train.targets)
    assert sum(map(len, (again.train, again.search, again.test))) == 27


def test_a_truncated_file_of_decoded_images_is_made_again(root: Path, small_memory: Path) -> None:
    first = ImageFolder(root).load()
    (content,) = small_memory.glob("*.bin")
    kept = first.fingerprint
    del first
    content.write_bytes(content.read_bytes()[:100])
    assert ImageFolder(root).load().fingerprint == kept


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"shape": null, "dtype": 3, "note": 0}'])
def test_a_damaged_description_of_decoded_images_is_made_again(
    root: Path, small_memory: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    kept = ImageFolder(root).load().fingerprint
    (description,) = small_memory.glob("*.json")
    description.write_text(content)
    assert ImageFolder(root).load().fingerprint == kept
    assert "made again" in caplog.text


@pytest.mark.parametrize(
    ("pixels", "said"),
    [
        (np.arange(16, dtype=np.int32), "from 0 to 15"),
        (np.arange(16, dtype=np.int32) * 70_000, "1050000"),
        (np.arange(16, dtype=np.int32) * 300 - 1, "from -1"),
        (np.linspace(0, 1, 16, dtype=np.float32), "floats"),
    ],
    ids=["8 bits", "32 bits", "negative", "floats"],
)
def test_pixels_of_unknown_range_are_named_and_refused(tmp_path: Path, pixels: np.ndarray, said: str) -> None:
    write_image_folder(tmp_path, classes="ab")
    Image.fromarray(pixels.reshape(4, 4)).save(tmp_path / "a" / "000.tif")
    message = refused(ImageFolder(tmp_path, size=4, skip_corrupt=True))
    assert "000.tif: the image holds" in message
    assert said in message


def write_deep(path: Path, values: np.ndarray) -> None:
    """Write 16 bits a pixel; PGM files of them are what Pillow holds in 32."""
    if path.suffix == ".pgm":
        head = f"P5 {values.shape[1]} {values.shape[0]} 65535\n".encode()
        path.write_bytes(head + values.astype(">u2").tobytes())
    else:
        Image.fromarray(values.astype(np.uint16)).save(path)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".pgm"])
def test_files_of_sixteen_bits_keep_their_levels(tmp_path: Path, suffix: str) -> None:
    for label in range(2):
        (tmp_path / str(label)).mkdir()
        for number in range(4):
            values = np.arange(4096).reshape(64, 64) * (label + 1) // 2 + number
            write_deep(tmp_path / str(label) / f"{number}{suffix}", values)
    splits = ImageFolder(tmp_path, channels=1, search_share=0.3, test_share=0.3).load()
    check_splits(splits, "it")
    assert splits.train.inputs.dtype == torch.float32
    assert all(len(image.unique()) >= 2048 for image in splits.train.inputs)
    batch = splits.train.batch(slice(None))
    assert abs(float(batch.std()) - 1) < 1e-2, "training sees the same as of 8 bits"


@pytest.mark.parametrize("deep", ["a/000", "c/009"])
def test_one_deep_image_makes_all_alike_wherever_it_is(root: Path, deep: str) -> None:
    (root / f"{deep}.png").unlink()
    write_deep(root / f"{deep}.png", np.full((12, 10), 65_535))
    splits = ImageFolder(root, test_share=0.3).load()
    parts = (splits.train, splits.search, splits.test)
    images = torch.cat([part.inputs for part in parts])
    assert images.dtype == torch.float32
    assert sorted(images[:, 2].amax((1, 2)).mul(255).round().unique().tolist()) == [200, 255]


def test_decoded_files_of_other_rules_are_not_read(
    root: Path, small_memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ImageFolder(root).load()
    monkeypatch.setattr("nas.data.decoding.RULES", -1)
    ImageFolder(root).load()
    assert len(list(small_memory.glob("*.bin"))) == 2


@pytest.mark.parametrize("size", [None, 8])
def test_photos_that_lie_on_their_side_have_the_size_of_the_others(root: Path, size: int | None) -> None:
    upright = ImageFolder(root, size=size).load()
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    for path in (root / "b").glob("*.png"):
        Image.open(path).transpose(Image.Transpose.ROTATE_90).save(path, exif=exif)
    assert ImageFolder(root, size=size).load().fingerprint == upright.fingerprint


KINDS = [
    ".gif",
    ".jfif",
    ".webp",
    ".avif",
    ".bmp",
    ".tiff",
    ".jpe",
    ".JPG",
    ".jp2",
    ".tga",
    ".ico",
    ".pcx",
    ".qoi",
]


def test_every_kind_that_pillow_reads_is_used(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    kinds = [kind for kind in KINDS if kind.lower() in Image.registered_extensions()]
    for number, kind in enumerate(kinds):
        Image.new("RGB", (16, 16), (20 * number, 9, 9)).save(root / "a" / f"more{kind}")
    parts = ImageFolder(root, size=16).find_items()
    assert np.bincount(parts.train.labels).tolist() == [10 + len(kinds), 10, 10]
    ImageFolder(root, size=16).load()
    assert caplog.records == []


def test_what_is_no_image_is_counted_and_named(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in (
        "a/1.heic",
        "a/2.HEIC",
        "b/notes.txt",
        "b/README",
        "c/table.h5",
        "a/.hidden.png",
        "a/.DS_Store",
    ):
        (root / name).write_bytes(b"something")
    (root / ".ipynb_checkpoints").mkdir()
    splits = ImageFolder(root).load()
    assert sum(map(len, (splits.train, splits.search, splits.test))) == 30
    assert "5 files" in caplog.text
    assert "2 .heic, 1 without ending, 1 .txt, 1 .h5" in caplog.text
    assert "1.heic" in caplog.text
    (root / "d").mkdir()
    (root / "d" / "photo.heic").write_bytes(b"")
    assert "['d'] hold no image" in refused(ImageFolder(root))


def test_several_frames_are_told(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    frames = [Image.new("RGB", (10, 12), (0, 0, blue)) for blue in (200, 100)]
    frames[0].save(root / "a" / "moving.gif", save_all=True, append_images=frames[1:])
    ImageFolder(root).load()
    assert "1 of 31 items hold several frames or pages, of which the first is used" in caplog.text
    assert "moving.gif" in caplog.text


def test_colours_of_sixteen_bits_are_told(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = np.full((12, 10 * 3), 5000, dtype=">u2")
    head = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 10, 12, 16, 2, 0, 0, 0))
    packed = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    (root / "a" / "deep.png").write_bytes(head + chunk(b"IDAT", packed) + chunk(b"IEND", b""))
    ImageFolder(root).load()
    assert "1 of 31 items hold 16 bits per channel" in caplog.text


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def test_links_in_a_circle_count_once(root: Path) -> None:
    (root / "a" / "again").symlink_to(root / "a")
    (root / "a" / "gone.png").symlink_to(root / "nowhere.png")
    assert len(ImageFolder(root).find_items().train.labels) == 31
    assert "1 of 31" in refused(ImageFolder(root))


@pytest.mark.parametrize("target", ["b", "."])
def test_a_link_that_brings_images_into_a_second_class_is_a_sentence(root: Path, target: str) -> None:
    (root / "a" / "more").symlink_to(root / target)
    assert "of the class 'b' and, through a link, of 'a'" in refused(ImageFolder(root))
