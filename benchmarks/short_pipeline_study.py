"""A run of half a minute that spends most of it on winners that go through a pipeline; for the benchmark of kills."""

from __future__ import annotations

from functools import partial

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
from nas.data import Digits
from search_spaces.convnet import convnet
from surrogates.mixture import Mixture


def study() -> Study:
    """Return the study."""
    return Study(
        name="short",
        network=partial(convnet, classes=10, channels=1, resolution=8),
        data=Digits(),
        objectives=(Accuracy(), NumParams()),
        recipe=Recipe(epochs=1),
        strategy=SurrogateSearch(Mixture, num_startup=4, batch_size=4),
        evaluations=6,
        pipeline=Pipeline(Prune(keep=(0.5, 1.0)), FineTune(), Int8(bits=(8, 32))),
        winners=Winners(
            count=2,
            recipe=Recipe(epochs=1, learning_rate=1e-3),
            passes=(Pipeline(Prune(keep=0.75), FineTune(), name="pruned"), Cluster(bits=4)),
        ),
        trust=Trust(count=0),
    )
