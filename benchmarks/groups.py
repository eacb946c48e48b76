"""What it changes that items of one group are in one split, and that a class is capped, on SMS.

    python -m benchmarks.groups --data $NAS_DATA --seeds 0 1 2 3 4

Many spam messages are one text with other numbers and names. Messages whose first five words agree, numbers aside, are
taken for a group. A logistic regression and the nearest message (scikit-learn's, on bags of words, nothing tuned) are
trained and tested on splits by message and by group; then on at most as many messages of each class as ``--cap`` says,
beside as many messages at random, both on splits by group. Balanced accuracy, and recall of spam, of the test split;
two minutes of one core.
"""

from __future__ import annotations

import argparse
import re
import statistics
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, recall_score
from sklearn.neighbors import KNeighborsClassifier

from nas.data import TextTable
from nas.data.table import read_columns
from nas.data.words import split_words
from nas.space import FloatArray
from nas.splits import Split, Splits

BEGINNING = 5
"""Words by which a message is told; templates agree in more, and two people rarely in so many."""


def write_with_groups(source: Path, path: Path) -> int:
    """Write the table with a column of groups, and return how many messages are of a group with others."""
    texts, labels = read_columns(source, {"text": "text", "label": "label"})
    groups = [
        " ".join(re.sub(r"\d+", "0", word) for word in split_words(text)[:BEGINNING]) or "-" for text in texts
    ]
    lines = [f"{t}\t{label}\t{group}" for t, label, group in zip(texts, labels, groups, strict=True)]
    path.write_text("\n".join(["text\tlabel\tgroup", *lines]), encoding="utf-8")
    sizes = Counter(groups)
    return sum(sizes[group] > 1 for group in groups)


def bags(split: Split, count: int) -> FloatArray:
    """Return which words each message holds."""
    assert isinstance(split.inputs, torch.Tensor)
    held = torch.zeros(len(split), count).scatter_(1, split.inputs, 1.0)
    return held[:, 1:].numpy()  # without padding


def judge(splits: Splits) -> dict[str, float]:
    """Return balanced accuracy and recall of spam, of both models."""
    count, spam = len(splits.vocabulary), splits.facts.names.index("spam")
    taught, asked = bags(splits.train, count), bags(splits.test, count)
    models = {
        "regression": LogisticRegression(max_iter=1000),
        "nearest message": KNeighborsClassifier(1, metric="cosine"),
    }
    rates = {}
    for name, model in models.items():
        found = model.fit(taught, splits.train.targets).predict(asked)
        rates[f"{name}: balanced accuracy"] = balanced_accuracy_score(splits.test.targets, found)
        rates[f"{name}: recall of spam"] = recall_score(splits.test.targets == spam, found == spam)
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="Folder that holds text/sms_spam.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--cap", type=int, default=200, help="Messages of a class to train with.")
    arguments = parser.parse_args()
    rows: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sms.tsv"
        together = write_with_groups(arguments.data / "text/sms_spam/sms_spam.tsv", path)
        print(f"{together} messages are of a group with others")
        for seed in arguments.seeds:
            options: dict[str, Any] = {"min_count": 1, "seed": seed}
            by_group = TextTable(path, group="group", **options).load()
            capped = TextTable(path, group="group", class_cap=arguments.cap, **options).load()
            found = {
                "split by message": TextTable(path, **options).load(),
                "split by group": by_group,
                f"by group, at most {arguments.cap} of a class": capped,
                "by group, as many at random": at_random(by_group, len(capped.train), seed),
            }
            for name, splits in found.items():
                rows.setdefault(name, []).append(judge(splits))
            print(f"seed {seed}: {[len(splits.train) for splits in found.values()]} to train", flush=True)
    columns = list(next(iter(rows.values()))[0])
    print("", "splits", *columns, sep=" | ")
    for name, rates in rows.items():
        print(
            "", name, *(_format_mean([values[column] for values in rates]) for column in columns), sep=" | "
        )


def at_random(splits: Splits, count: int, seed: int) -> Splits:
    """Return splits with some of the items to train with."""
    rows = np.random.default_rng(seed).choice(len(splits.train), count, replace=False)
    return replace(splits, train=splits.train.subset(torch.from_numpy(rows)))


def _format_mean(values: list[float]) -> str:
    spread = statistics.stdev(values) if len(values) > 1 else float("nan")
    return f"{100 * statistics.mean(values):.1f} ± {100 * spread:.1f} %"


if __name__ == "__main__":
    main()
