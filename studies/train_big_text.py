"""Train big, then compress (Li 2020) on SST-2: size, early stop and compression of Transformers, searched together.

Needs what ``sst2_text`` needs, in the folder that the environment variable ``NAS_DATA`` names. Every candidate is
trained from random weights for as many epochs as it chooses; there is no pre-training, which the paper's claim for
RoBERTa is about. Five epochs take 20 seconds to five minutes of one core, by the size, so that the whole takes about
four hours; estimated from two epochs on 320 sentences.
"""

from __future__ import annotations

from functools import partial

from nas import (
    Accuracy,
    FineTune,
    FromScratch,
    Pipeline,
    Prune,
    Recipe,
    Study,
    SurrogateSearch,
    TrainingMacs,
    WeightBytes,
    Winners,
)
from nas.compression import Cluster
from nas.data import TextTable
from search_spaces.text_transformer import text_transformer
from surrogates.mixture import Mixture

_NUM_TOKENS = 8_000
_LENGTH = 48


def study(
    limit: int | None = None,
    epochs: tuple[int, ...] = (1, 2, 3, 5),
    evaluations: int = 150,
    winners: int = 5,
    fine_tuning_epochs: int = 2,
) -> Study:
    """Return the study.

    Args:
        limit: How many of the 6,920 sentences to train and search with; None for all.
        epochs: For how many of them a candidate may be trained.
        evaluations: How many to evaluate.
        winners: How many to finish.
        fine_tuning_epochs: Of each winner, after it was pruned.
    """
    return Study(
        name="train_big_text",
        network=partial(text_transformer, classes=2, num_tokens=_NUM_TOKENS, length=_LENGTH),
        data=TextTable(
            "text/sst2/train.tsv",
            "text/sst2/test.tsv",
            name="SST-2",
            max_length=_LENGTH,
            max_words=_NUM_TOKENS,
            limit=limit,
        ),
        objectives=(Accuracy(), WeightBytes(), TrainingMacs()),
        recipe=Recipe(epochs=epochs[-1], batch_size=64, learning_rate=1e-3, weight_decay=0.1),
        training=FromScratch(epochs=epochs),
        pipeline=Pipeline(Prune(keep=(0.5, 0.75, 1.0)), FineTune(), Cluster(bits=(4, 8, 32))),
        strategy=SurrogateSearch(Mixture),
        evaluations=evaluations,
        winners=Winners(
            count=winners,
            recipe=Recipe(epochs=fine_tuning_epochs, batch_size=64, learning_rate=2e-4, weight_decay=0.1),
        ),
        intended_use="Telling positive from negative sentences of English film reviews; whether to train big first.",
    )
