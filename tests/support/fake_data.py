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
