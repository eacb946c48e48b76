"""Train big, then compress (Li 2020) on SST-2: size, early stop and compression of Transformers, searched together.

Needs what ``sst2_text`` needs, in the folder that the environment variable ``NAS_DATA`` names. Every candidate is
trained from random weights for as many epochs as it chooses; there is no pre-training, which the paper's claim for
RoBERTa is about. Five epochs take 20 seconds to five minutes of one core, by the size, so that the whole takes about
four hours; estimated from two epochs on 320 sentences.
"""

from __future__ import annotations

import dataclasses

from nas import Accuracy, FineTune, FromScratch, Pipeline, Prune, Study, TrainingMacs, WeightBytes
from nas.compression import Cluster
from studies.sst2_text import study as sst2_text


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
        fine_tuning_epochs: Epochs of the fine-tuning of each winner, after it was pruned.
    """
    plain = sst2_text(limit, epochs[-1], evaluations, winners, fine_tuning_epochs)
    return dataclasses.replace(
        plain,
        name="train_big_text",
        objectives=(Accuracy(), WeightBytes(), TrainingMacs()),
        training=FromScratch(epochs=epochs),
        pipeline=Pipeline(Prune(keep=(0.5, 0.75, 1.0)), FineTune(), Cluster(bits=(4, 8, 32))),
        intended_use="Telling positive from negative sentences of English film reviews; whether to train big first.",
    )
