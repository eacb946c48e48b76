"""Train big, then compress (Li 2020): size, early stop and compression of perceptrons for digits, searched together.

Every candidate is trained from random weights, for as many epochs as it chooses, and compressed without training
anything again. Accuracy, bytes and the cost of the training are traded off, so that the front says what pays: a
large network, stopped early and compressed hard, or a small one as it is. Winners are fine-tuned. Five minutes on one
core.
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
from nas.data import Digits
from search_spaces.plain_mlp import plain_mlp
from surrogates.mixture import Mixture

_EPOCHS = (2, 5, 10, 25)
"""Until the smallest networks learn no more, and fewer."""


def study(evaluations: int = 200, winners: int = 6, seed: int = 0) -> Study:
    """Return the study.

    Args:
        evaluations: How many of the 1,080 ways to evaluate.
        winners: How many to finish.
        seed: Seed of everything that is random.
    """
    return Study(
        name="train_big",
        network=partial(plain_mlp, classes=10, features=64),
        data=Digits(),
        objectives=(Accuracy(), WeightBytes(), TrainingMacs()),
        recipe=Recipe(epochs=_EPOCHS[-1], batch_size=32, learning_rate=2e-3),
        training=FromScratch(epochs=_EPOCHS),
        pipeline=Pipeline(Prune(keep=(0.25, 0.5, 0.75, 0.875, 1.0)), FineTune(), Cluster(bits=(4, 8, 32))),
        strategy=SurrogateSearch(Mixture),
        evaluations=evaluations,
        winners=Winners(count=winners, recipe=Recipe(epochs=5, batch_size=32, learning_rate=1e-3)),
        seed=seed,
        intended_use="Reading single handwritten digits of 8x8 pixels; whether to train big, then compress.",
    )
