"""SST-2 by cells as the Evolved Transformer was found in (So 2019): accuracy and MACs of cells, each trained by itself.

Needs what ``sst2_text`` needs, in the folder that the environment variable ``NAS_DATA`` names. The search begins with
the plain Transformer in a few sizes, and progressive dynamic hurdles spare weak cells most of their epochs. An epoch
of a candidate takes one to five seconds of one core, so that the whole takes about half an hour; estimated from the
speed of its sizes.
"""

from __future__ import annotations

from functools import partial

from nas import Accuracy, FromScratch, Hurdles, Macs, Recipe, Study, SurrogateSearch, Winners
from nas.data import TextTable
from search_spaces.evolved_transformer import evolved_transformer, make_known_cell
from surrogates.mixture import Mixture

NUM_TOKENS = 8_000
LENGTH = 32
SIZES = ((16, 1), (32, 1), (32, 2), (64, 2))
"""Features of a token, and layers, of the Transformers that the search begins with."""


def study(
    limit: int | None = None,
    epochs: int = 5,
    evaluations: int = 100,
    winners: int = 5,
    fine_tuning_epochs: int = 2,
) -> Study:
    """Return the study.

    Args:
        limit: How many of the 6,920 sentences to train and search with; None for all.
        epochs: Epochs of a candidate's training, 3 or more.
        evaluations: How many architectures to evaluate.
        winners: How many to finish.
        fine_tuning_epochs: Epochs of the fine-tuning of each winner.
    """
    return Study(
        name="evolved_text",
        network=partial(
            evolved_transformer, classes=2, num_tokens=NUM_TOKENS, length=LENGTH, scale=0.5, cells=2
        ),
        data=TextTable(
            "text/sst2/train.tsv",
            "text/sst2/test.tsv",
            name="SST-2",
            max_length=LENGTH,
            max_words=NUM_TOKENS,
            limit=limit,
        ),
        objectives=(Accuracy(), Macs()),
        recipe=Recipe(epochs=epochs, batch_size=64, learning_rate=1e-3, weight_decay=0.1),
        strategy=SurrogateSearch(Mixture),
        training=FromScratch(Hurdles(after=(2,), every=8)),
        warm_start=tuple(make_known_cell("transformer", width, layers) for width, layers in SIZES),
        evaluations=evaluations,
        winners=Winners(
            count=winners,
            recipe=Recipe(epochs=fine_tuning_epochs, batch_size=64, learning_rate=2e-4, weight_decay=0.1),
        ),
        intended_use="Telling positive from negative sentences of English film reviews; a benchmark.",
    )
