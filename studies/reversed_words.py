"""Words backwards, letter by letter: word error rate, MACs and CPU latency among 221,130 encoder-decoder Transformers.

Needs no data: the words are those of the descriptions that scikit-learn ships with its data sets. With
``study(table="text/sms_spam/sms_spam.tsv")`` they are those of another table of texts, in the folder that the
environment variable ``NAS_DATA`` names: UTF-8, separated by tabs, with a column ``text``. No word is in two splits, so
that what is tested is whether the rule was learned.
"""

from __future__ import annotations

import importlib.resources
import random
import re
import string
from dataclasses import dataclass
from functools import partial

from nas import LatencyMs, Macs, Recipe, Study, SurrogateSearch, Winners
from nas.data import split_pairs
from nas.data.locations import data_root
from nas.data.table import read_columns
from nas.evaluation import WordErrorRate
from nas.splits import Splits
from nas.tasks.sequences import SPECIAL
from search_spaces.sequence_transformer import sequence_transformer
from surrogates.mixture import Mixture

_SHORTEST, _LONGEST = 3, 8
"""Letters of a word; the longest takes a small network seconds to learn, not minutes."""


@dataclass(frozen=True)
class ReversedWords:
    """Different words of texts, and the same backwards.

    Args:
        table: A table with a column ``text``, in the folder of data sets; None for scikit-learn's descriptions.
        limit: How many words to use, drawn at random; None for all.
    """

    table: str | None = None
    limit: int | None = None

    def load(self) -> Splits:
        """Return the splits."""
        words = sorted({word for text in self._texts() for word in re.findall("[a-z]+", text.lower())})
        fitting = [word for word in words if _SHORTEST <= len(word) <= _LONGEST]
        random.Random(0).shuffle(fitting)
        chosen = fitting[: self.limit]
        return split_pairs(
            f"{len(chosen):,} words of {self.table or 'scikit-learn'} backwards",
            chosen,
            [word[::-1] for word in chosen],
            string.ascii_lowercase,
            source_length=_LONGEST,
            length=_LONGEST + 1,
        )

    def _texts(self) -> list[str]:
        if self.table is not None:
            (texts,) = read_columns(data_root(None, self.table) / self.table, {"text": "text"})
            return texts
        files = importlib.resources.files("sklearn.datasets.descr").iterdir()
        return [file.read_text(encoding="utf-8") for file in files if file.name.endswith(".rst")]


def study(
    table: str | None = None,
    limit: int | None = None,
    epochs: int = 40,
    evaluations: int = 60,
    winners: int = 3,
    fine_tuning_epochs: int = 20,
) -> Study:
    """Return the study.

    Args:
        table: See :class:`ReversedWords`.
        limit: See there.
        epochs: Epochs of the supernet's training.
        evaluations: How many architectures to evaluate.
        winners: How many to finish.
        fine_tuning_epochs: Epochs of the fine-tuning of each winner.
    """
    num_tokens = len(SPECIAL) + len(string.ascii_lowercase)
    return Study(
        name="reversed_words",
        network=partial(
            sequence_transformer, num_tokens=num_tokens, source_length=_LONGEST, length=_LONGEST + 1
        ),
        data=ReversedWords(table, limit),
        objectives=(WordErrorRate(), Macs(), LatencyMs()),
        recipe=Recipe(epochs=epochs, batch_size=32, learning_rate=2e-3, weight_decay=0.05),
        strategy=SurrogateSearch(Mixture),
        evaluations=evaluations,
        winners=Winners(
            count=winners,
            recipe=Recipe(epochs=fine_tuning_epochs, batch_size=32, learning_rate=1e-3, weight_decay=0.05),
        ),
        intended_use="Writing words backwards; a demonstration of sequences that are written token by token.",
    )
