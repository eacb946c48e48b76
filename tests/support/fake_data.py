"""Real data in small, written in the formats that data sources read."""

from __future__ import annotations

import pickle
import struct
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn import functional as F


def digit_images(size: int, channels: int = 1) -> tuple[Tensor, Tensor]:
    """Return scikit-learn's digits as ``(1797, channels, size, size)`` uint8, and their labels."""
    data = load_digits()
    images = torch.from_numpy(data.images).float().unsqueeze(1) * (255 / 16)
    larger = F.interpolate(images, (size, size), mode="bilinear", antialias=True)
    return larger.round().to(torch.uint8).expand(-1, channels, -1, -1), torch.from_numpy(data.target)


def write_fashion_mnist(root: Path, train: int = 1200, test: int = 500) -> None:
    """Write digits where and as torchvision reads FashionMNIST."""
    images, labels = digit_images(28)
    folder = root / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    for name, rows in (("train", slice(train)), ("t10k", slice(train, train + test))):
        pixels = images[rows, 0].numpy()
        head = struct.pack(">IIII", 0x803, *pixels.shape)
        (folder / f"{name}-images-idx3-ubyte").write_bytes(head + pixels.tobytes())
        head = struct.pack(">II", 0x801, len(pixels))
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(
            head + labels[rows].numpy().astype(np.uint8).tobytes()
        )


def write_emnist(root: Path, split: str, first_label: int, train: int = 260, test: int = 104) -> None:
    """Write digits, labelled from ``first_label`` on, where and as torchvision reads EMNIST."""
    images, labels = digit_images(28)
    folder = root / "EMNIST" / "raw"
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in (("train", slice(train)), ("test", slice(train, train + test))):
        pixels, found = images[rows, 0].numpy(), labels[rows].numpy() + first_label
        head = struct.pack(">IIII", 0x803, *pixels.shape)
        (folder / f"emnist-{split}-{name}-images-idx3-ubyte").write_bytes(head + pixels.tobytes())
        head = struct.pack(">II", 0x801, len(found))
        (folder / f"emnist-{split}-{name}-labels-idx1-ubyte").write_bytes(
            head + found.astype(np.uint8).tobytes()
        )


def write_cifar10(root: Path, per_batch: int = 200, test: int = 400) -> None:
    """Write digits where and as torchvision reads CIFAR10, up to the checksums."""
    images, labels = digit_images(32, channels=3)
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    ends = [*range(0, 5 * per_batch + 1, per_batch), 5 * per_batch + test]
    names = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    for name, begin, end in zip(names, ends[:-1], ends[1:], strict=True):
        pixels = images[begin:end].reshape(end - begin, -1).numpy()
        content = {"data": pixels, "labels": labels[begin:end].tolist()}
        (folder / name).write_bytes(pickle.dumps(content))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": [f"kind {n}" for n in range(10)]}))


def write_image_folder(
    root: Path, per_class: int = 8, size: tuple[int, int] = (12, 10), classes: str = "abc", blue: int = 200
) -> None:
    """Write colour images of one shade each, which tells class and number."""
    for label, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for number in range(per_class):
            shade = (40 * label, 10 * number, blue)
            Image.new("RGB", (size[1], size[0]), shade).save(root / name / f"{number:03}.png")


def write_masked_images(
    images: Path,
    masks: Path,
    count: int = 30,
    size: tuple[int, int] = (12, 10),
    classes: int = 3,
    seed: int = 0,
) -> None:
    """Write colour images of noise whose blue is their number, and masks, every second with a palette.

    The class of a pixel is its red divided by ``240 // classes``. All classes are in each image, 0 at its first pixel.
    """
    rng = np.random.default_rng(seed)
    images.mkdir(parents=True)
    masks.mkdir(parents=True)
    for number in range(count):
        mask = rng.integers(0, classes, size, dtype=np.uint8)
        mask[0, :classes] = np.arange(classes)
        pixels = np.stack([240 // classes * mask, np.zeros_like(mask), np.full_like(mask, number)], axis=-1)
        Image.fromarray(pixels).save(images / f"{number:03}.png")
        written = Image.fromarray(mask)
        if number % 2:
            written.putpalette(list(range(255, -1, -1)) * 3)
        written.save(masks / f"{number:03}.png")


def write_voc(root: Path, count: int = 12) -> None:
    """Write images and masks of all 21 classes where and as torchvision reads VOCSegmentation of 2012."""
    folder = root / "VOCdevkit" / "VOC2012"
    write_masked_images(folder / "JPEGImages", folder / "SegmentationClass", 2 * count, (8, 24), 21)
    for path in (folder / "JPEGImages").iterdir():
        path.rename(path.with_suffix(".jpg"))  # what is in a file says what it is
    (folder / "ImageSets" / "Segmentation").mkdir(parents=True)
    for name, first in (("train", 0), ("val", count)):
        listing = "".join(f"{number:03}\n" for number in range(first, first + count))
        (folder / "ImageSets" / "Segmentation" / f"{name}.txt").write_text(listing)


def write_cityscapes(root: Path, count: int = 12) -> None:
    """Write images and masks of all label ids from 0 to 33 where and as torchvision reads Cityscapes."""
    for seed, part in enumerate(("train", "val")):
        images, masks = root / "leftImg8bit" / part / "aachen", root / "gtFine" / part / "aachen"
        write_masked_images(images, masks, count, (8, 36), 34, seed)
        for number in range(count):
            (images / f"{number:03}.png").rename(images / f"aachen_{number:06}_000019_leftImg8bit.png")
            (masks / f"{number:03}.png").rename(masks / f"aachen_{number:06}_000019_gtFine_labelIds.png")


def write_pets(root: Path, count: int = 12) -> None:
    """Write images and trimaps where and as torchvision reads OxfordIIITPet."""
    folder = root / "oxford-iiit-pet"
    write_masked_images(folder / "images", folder / "annotations" / "trimaps", 2 * count)
    for number in range(2 * count):
        (folder / "images" / f"{number:03}.png").rename(folder / "images" / f"cat_{number}.jpg")
        written = folder / "annotations" / "trimaps" / f"{number:03}.png"
        mask = np.asarray(Image.open(written)) + 1
        Image.fromarray(mask.astype(np.uint8)).save(written.with_name(f"cat_{number}.png"))
    for name, first in (("trainval", 0), ("test", count)):
        lines = "".join(f"cat_{number} {1 + number % 2} 1 1\n" for number in range(first, first + count))
        (folder / "annotations" / f"{name}.txt").write_text(lines)


def write_texts(root: Path) -> None:
    """Write two tables of sentences whose words tell the class."""
    rng = np.random.default_rng(0)
    neutral = ["the", "film", "story", "and", "a", "scene", ",", "."]
    telling = {"0": ["dull", "awful"], "1": ["great", "moving"]}
    folder = root / "text" / "sst2"
    folder.mkdir(parents=True)
    for name, count in (("train", 300), ("test", 100)):
        lines = ["text\tlabel"]
        for number in range(count):
            label = str(number % 2)
            words = [*rng.choice(neutral, 6), *rng.choice(telling[label], 2)]
            lines.append(f"{' '.join(rng.permutation(words))}\t{label}")
        (folder / f"{name}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_camvid(root: Path, count: int = 6) -> None:
    """Write the three parts of CamVid at 160x120: half of each scene is sky, half of it road, a part nothing."""
    rng = np.random.default_rng(0)
    folder = root / "camvid"
    folder.mkdir(parents=True)
    arrays = {"class_names": np.array([f"class {number}" for number in range(12)])}
    for part in ("train", "val", "test"):
        labels = np.zeros((count, 120, 160), dtype=np.uint8)
        labels[:, 60:] = 3
        labels[:, :, -8:] = 11
        arrays[f"{part}_labels"] = labels
        noise = rng.integers(0, 100, (count, 120, 160, 3))
        arrays[f"{part}_images"] = (noise + 50 * labels[..., None].clip(max=3)).astype(np.uint8)
    np.savez(folder / "camvid_160x120.npz", **arrays)


def write_lidar(root: Path) -> None:
    """Write six tiles of a plane, of which each class has a height of its own."""
    rng = np.random.default_rng(0)
    count = 6 * 400
    label = np.arange(count) % 5
    places = rng.uniform(0, 20, (count, 3)) * [1, 1, 0.1] + np.stack([0 * label, 0 * label, 4 * label], 1)
    folder = root / "pointcloud_ign"
    folder.mkdir(parents=True)
    np.savez(
        folder / "ign_lidar_50m_tiles.npz",
        xyz=places.astype(np.float32),
        label=label.astype(np.uint8),
        tile=np.repeat(np.arange(6, dtype=np.uint8), 400),
        intensity=rng.integers(100, 1000, count).astype(np.uint16),
        return_number=np.ones(count, dtype=np.uint8),
        number_of_returns=rng.integers(1, 3, count).astype(np.uint8),
    )
