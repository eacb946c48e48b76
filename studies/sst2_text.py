"""SST-2: is a sentence of a film review positive? Accuracy, MACs and CPU latency among 7.2e7 Transformers.

Needs ``text/sst2/train.tsv`` and ``text/sst2/test.tsv`` in the folder that the environment variable ``NAS_DATA``
names: UTF-8, separated by tabs, with the columns ``text`` and ``label`` named in the first line. No word vectors
and no pre-training: one small network, trained by itself for five epochs, has 76 % of the search split right.

On two cores an epoch of the supernet takes 40 seconds of processor time, measured, and the whole about half an hour,
estimated; on one GPU about ten minutes, estimated.
"""

from __future__ import annotations

from functools import partial

from nas import Accuracy, LatencyMs, Macs, Recipe, Study, SurrogateSearch, Winners
from nas.data import TextTable
from search_spaces.text_transformer import text_transformer
from surrogates.mixture import Mixture

_NUM_TOKENS = 8_000
_LENGTH = 48


def study(
    limit: int | None = None,
    epochs: int = 16,
    evaluations: int = 150,
    winners: int = 5,
    fine_tuning_epochs: int = 4,
) -> Study:
    """Return the study.

    Args:
        limit: How many of the 6,920 sentences to train and search with; None for all.
        epochs: Epochs of the supernet's training.
        evaluations: How many architectures to evaluate.
        winners: How many to finish.
        fine_tuning_epochs: Epochs of the fine-tuning of each winner.
    """
    return Study(
        name="sst2_text",
        network=partial(text_transformer, classes=2, num_tokens=_NUM_TOKENS, length=_LENGTH),
        data=TextTable(
            "text/sst2/train.tsv",
            "text/sst2/test.tsv",
            name="SST-2",
            max_length=_LENGTH,
            max_words=_NUM_TOKENS,
            limit=limit,
        ),
        objectives=(Accuracy(), Macs(), LatencyMs()),
        recipe=Recipe(epochs=epochs, batch_size=64, learning_rate=1e-3, weight_decay=0.1),
        strategy=SurrogateSearch(Mixture),
        evaluations=evaluations,
        winners=Winners(
            count=winners,
            recipe=Recipe(epochs=fine_tuning_epochs, batch_size=64, learning_rate=2e-4, weight_decay=0.1),
        ),
        intended_use="Telling positive from negative sentences of English film reviews; a benchmark.",
    )
