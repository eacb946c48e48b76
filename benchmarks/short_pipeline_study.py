"""A run of some seconds whose winners go through a pipeline; it may kill itself as it puts a file in its place.

Files are put in their places by ``os.replace``: with ``NAS_BENCHMARK_KILL`` set to a number, the process dies by
SIGKILL instead of doing that so many times. With ``NAS_BENCHMARK_COUNT`` it writes to that file how many there were.
"""

from __future__ import annotations

import atexit
import os
import signal
from functools import partial
from pathlib import Path
from typing import Any

import torch
from sklearn.datasets import load_digits

from nas import (
    Accuracy,
    FineTune,
    Int8,
    NumParams,
    Pipeline,
    Prune,
    Recipe,
    Study,
    SurrogateSearch,
    Trust,
    Winners,
)
from nas.compression import Cluster
from nas.data import split_images
from nas.splits import Splits
from search_spaces.plain_mlp import plain_mlp
from surrogates.mixture import Mixture

KILL, COUNT = "NAS_BENCHMARK_KILL", "NAS_BENCHMARK_COUNT"


class FewDigits:
    """The first 500 of scikit-learn's digits."""

    def __repr__(self) -> str:
        return "FewDigits()"

    def load(self) -> Splits:
        """Return the splits."""
        digits = load_digits()
        images = torch.from_numpy(digits.images[:500]).unsqueeze(1)
        return split_images("few digits", images, torch.from_numpy(digits.target[:500]))


def study() -> Study:
    """Return the study."""
    return Study(
        name="short",
        network=partial(plain_mlp, classes=10, features=64),
        data=FewDigits(),
        objectives=(Accuracy(), NumParams()),
        recipe=Recipe(epochs=3),
        strategy=SurrogateSearch(Mixture, num_startup=4, batch_size=4),
        evaluations=6,
        pipeline=Pipeline(Prune(keep=(0.5, 1.0)), FineTune(), Int8(bits=(8, 32))),
        winners=Winners(
            count=3,
            recipe=Recipe(epochs=3, learning_rate=1e-3),
            passes=(Pipeline(Prune(keep=0.75), FineTune(), name="pruned"), Cluster(bits=4)),
        ),
        trust=Trust(count=0),
    )


_replace, _replaced = os.replace, 0


def _count_and_replace(*arguments: Any, **named: Any) -> None:
    global _replaced
    _replaced += 1
    if str(_replaced) == os.environ.get(KILL):
        os.kill(os.getpid(), signal.SIGKILL)
    _replace(*arguments, **named)


if KILL in os.environ or COUNT in os.environ:
    os.replace = _count_and_replace
if COUNT in os.environ:
    atexit.register(lambda: Path(os.environ[COUNT]).write_text(str(_replaced)))
