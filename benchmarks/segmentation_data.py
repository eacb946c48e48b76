"""What photos with masks cost: decoded once and kept in a file, beside torchvision's own loader in the same run.

    python -m benchmarks.segmentation_data --out runs/segmentation_data

3,000 made photos of 500x375 with masks of 21 classes, in the layout of Pascal VOC, are read by torchvision's
``VOCSegmentation`` behind torch's ``DataLoader`` with one process per core, and by ``SegmentationFolder`` with so
little memory allowed that all of it goes to a file. A pass gives every image and mask as a tensor once, in batches of
16 in random order.
"""

from __future__ import annotations

import argparse
import functools
import logging
import os
import resource
import shutil
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter
from torch.utils.data import DataLoader
from torchvision.datasets import VOCSegmentation
from torchvision.transforms import v2

from nas.data import SegmentationFolder
from nas.splits import Splits

SIZE = (500, 375)
CLASSES = 21
BATCH = 16


def write_photo(folder: Path, number: int) -> None:
    """Write a photo of blobs and grain, and the mask of the blobs."""
    rng = np.random.default_rng(number)
    mask, photo = Image.new("P", SIZE), Image.new("RGB", SIZE, tuple(rng.integers(0, 256, 3).tolist()))
    mask.putpalette(rng.integers(0, 256, 768).tolist())
    for label in rng.integers(0, CLASSES, 8).tolist():
        left, top = (int(rng.integers(0, side)) for side in SIZE)
        box = (left, top, left + int(rng.integers(40, 250)), top + int(rng.integers(40, 200)))
        ImageDraw.Draw(mask).ellipse(box, fill=label, outline=255)
        ImageDraw.Draw(photo).ellipse(box, fill=tuple(rng.integers(0, 256, 3).tolist()))
    pixels = np.asarray(photo.filter(ImageFilter.GaussianBlur(2)), dtype=np.int16) + _grain(number % 16)
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(
        folder / "JPEGImages" / f"{number:05}.jpg", quality=90
    )
    mask.save(folder / "SegmentationClass" / f"{number:05}.png")


@functools.cache
def _grain(seed: int) -> NDArray[np.int16]:
    return np.random.default_rng(seed).normal(0, 8, (SIZE[1], SIZE[0], 3)).astype(np.int16)


def write_photos(root: Path, count: int) -> Path:
    """Write photos and masks as torchvision reads Pascal VOC, unless they are there, and return their folder."""
    folder = root / "VOCdevkit" / "VOC2012"
    listing = folder / "ImageSets" / "Segmentation" / "train.txt"
    names = "".join(f"{number:05}\n" for number in range(count))
    if not listing.exists() or listing.read_text() != names:
        for name in ("JPEGImages", "SegmentationClass"):
            shutil.rmtree(folder / name, ignore_errors=True)
            (folder / name).mkdir(parents=True)
        for number in range(count):
            write_photo(folder, number)
        listing.parent.mkdir(parents=True, exist_ok=True)
        listing.write_text(names)
    return folder


def torchvision_pass(root: Path) -> int:
    """Return how many pairs of tensors torchvision's loader gives."""
    data = VOCSegmentation(str(root), transforms=_as_tensors)
    loader = DataLoader(data, batch_size=BATCH, shuffle=True, num_workers=os.cpu_count() or 1)
    return sum(len(images) for images, _ in loader)


def _as_tensors(image: Image.Image, mask: Image.Image) -> tuple[torch.Tensor, torch.Tensor]:
    return v2.functional.pil_to_tensor(image), v2.functional.pil_to_tensor(mask)


def our_pass(splits: Splits) -> int:
    """Return how many pairs of tensors our splits give."""
    return sum(len(images) for images, _ in _batches(splits))


def _batches(splits: Splits) -> Iterable[tuple[torch.Tensor, torch.Tensor]]:
    for split in (splits.train, splits.search, splits.test):
        for rows in torch.randperm(len(split)).split(BATCH):
            yield split.inputs[rows], split.targets[rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--out", type=Path, default=Path("runs/segmentation_data"))
    parser.add_argument("--photos", type=int, default=3_000)
    parser.add_argument("--passes", type=int, default=3, help="Of which the medians are told.")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="    %(message)s")
    folder = write_photos(arguments.out, arguments.photos)
    cache = arguments.out / "cache"
    shutil.rmtree(cache, ignore_errors=True)
    os.environ["NAS_CACHE"] = str(cache)
    opened = _list_opened_files(folder)
    theirs = _time("torchvision, a pass", lambda: torchvision_pass(arguments.out), arguments.passes, opened)

    def load() -> Splits:
        return SegmentationFolder(
            folder / "JPEGImages", folder / "SegmentationClass", classes=CLASSES, memory_share=1e-6
        ).load()

    first = _time("ours, decoding into a file", load, 1, opened)
    again = _time("ours, found again", load, arguments.passes, opened)
    splits = load()
    assert splits.train.mapped
    ours = _time("ours, a pass", lambda: our_pass(splits), arguments.passes, opened)
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    size = sum(path.stat().st_size for path in cache.iterdir()) / 1e6
    print(f"{size:,.0f} MB in the file cache, {megabytes:,.0f} MB resident at most, mapped pages included")
    print("ratios of seconds of a core:")
    print(f"a pass of ours / of torchvision: {ours / theirs:.2f}")
    for epochs in (1, 10):
        print(
            f"decoding and {epochs} passes / torchvision's: {(first + epochs * ours) / (epochs * theirs):.2f}"
        )
    print(
        f"a later run's {again:.1f} s and 10 passes / torchvision's: {(again + 10 * ours) / (10 * theirs):.2f}"
    )


def _list_opened_files(folder: Path) -> list[str]:
    """Return a list that grows by each file in a folder that this process opens."""
    opened: list[str] = []

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and str(arguments[0]).startswith(str(folder.resolve())):
            opened.append(str(arguments[0]))

    sys.addaudithook(note)
    return opened


def _time(what: str, do: Callable[[], object], times: int, opened: list[str]) -> float:
    """Print the median seconds that something takes, and return those of a core, which other work changes least."""
    opened.clear()
    waited, worked = [], []
    for _ in range(times):
        begin, before = time.perf_counter(), os.times()
        do()
        after = os.times()
        waited.append(time.perf_counter() - begin)
        worked.append(sum(after[:4]) - sum(before[:4]))
    seconds, busy = float(np.median(waited)), float(np.median(worked))
    files = f"{len(opened) / times:,.0f} photos and masks opened in this process"
    print(f"{what}: {seconds:.2f} s, {busy:.2f} s of a core; {files}", flush=True)
    return busy


if __name__ == "__main__":
    main()
