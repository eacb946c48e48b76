"""Data sets of sentences, and what a network that is trained on one has right; shared by benchmarks of Transformers."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev

import torch
from torch import Tensor, nn

from nas.choices import Option
from nas.data import TextTable
from nas.evaluation.from_scratch import fresh_network, train_from_scratch
from nas.files import read_json, write_json
from nas.space import Architecture
from nas.splits import Split, Splits
from nas.training import Recipe

CPU = torch.device("cpu")
NUM_TOKENS = 8_000
SOURCES = {
    "SST-2": TextTable(
        "text/sst2/train.tsv", "text/sst2/test.tsv", name="SST-2", max_length=32, max_words=NUM_TOKENS
    ),
    "TREC": TextTable(
        "text/trec/train.tsv", "text/trec/test.tsv", name="TREC", max_length=20, max_words=NUM_TOKENS
    ),
}
"""Of the sentences of SST-2 nine in ten are shorter than that, and 97 % of the questions of TREC."""
RECIPE = Recipe(epochs=5, batch_size=64, learning_rate=1e-3, weight_decay=0.1)
"""That of the study ``sst2_text`` with five epochs."""


def parse(description: str | None, default_out: str) -> argparse.Namespace:
    """Return ``seeds``, ``out`` and ``sources`` by name; sets where the data lie, and one thread."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required="NAS_DATA" not in os.environ)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path(default_out))
    parser.add_argument("--only", choices=SOURCES, help="One of the data sets; both unless given.")
    parser.add_argument("--limit", type=int, help="Sentences to train and search with; all unless given.")
    arguments = parser.parse_args()
    arguments.sources = {
        name if arguments.limit is None else f"{name}-{arguments.limit}": replace(
            source, limit=arguments.limit
        )
        for name, source in SOURCES.items()
        if arguments.only in (None, name)
    }
    if arguments.data is not None:
        os.environ["NAS_DATA"] = str(arguments.data.absolute())
    torch.set_num_threads(1)
    return arguments


def rightness(
    make: Callable[[], nn.Module], architecture: Architecture, splits: Splits, seed: int, file: Path
) -> dict[str, Tensor]:
    """Return which items of ``search`` and ``test`` a network has right after it was trained alone; kept in a file."""
    if not file.exists():
        network = train_from_scratch(
            make, architecture, splits.train, splits.task, RECIPE, seed=seed, device=CPU
        ).eval()
        parts = {"search": splits.search, "test": splits.test}
        write_json(file, {name: _is_right(network, part).int().tolist() for name, part in parts.items()})
    return {name: torch.tensor(right, dtype=torch.float64) for name, right in read_json(file).items()}


@torch.no_grad()
def _is_right(network: nn.Module, split: Split) -> Tensor:
    answers = torch.cat([network(inputs).argmax(1) for inputs in split.batches(256)])
    return answers == split.targets


def architecture_of(make: Callable[[], nn.Module], options: Mapping[str, Option]) -> Architecture:
    """Return the smallest architecture with some options changed."""
    space = fresh_network(make, 0).space
    return space.architecture({**space.smallest(), **options})


def spread(values: list[float]) -> str:
    """Return the mean in percent and the deviation of seeds."""
    return (
        f"{100 * mean(values):6.2f} ± {100 * stdev(values):.2f}"
        if len(values) > 1
        else f"{100 * values[0]:6.2f}"
    )
