"""Digits read row by row: 84 recurrent networks, and their winners with ternary and with binary weights.

A winner's recurrent layers are trained on with weights of three or of two values (Ardakani 2019), which the file holds
in 2 bits or in 1.
"""

from __future__ import annotations

from functools import partial

from nas import Accuracy, LatencyMs, Macs, Pipeline, Recipe, Study, SurrogateSearch, Winners
from nas.compression import LowBitRecurrent, PackedFile
from nas.data import Digits
from search_spaces.recurrent import recurrent_rows
from surrogates.mixture import Mixture

_LOW_BIT = Recipe(epochs=24, learning_rate=1e-2)


def study(
    epochs: int = 48, evaluations: int = 40, fine_tuning_epochs: int = 8, low_bit: Recipe = _LOW_BIT
) -> Study:
    """Return the study.

    Args:
        epochs: Epochs of the supernet's training.
        evaluations: How many architectures to evaluate.
        fine_tuning_epochs: Epochs of the fine-tuning of each winner.
        low_bit: How each winner is trained with weights of few bits.
    """
    return Study(
        name="digits_rows",
        network=partial(recurrent_rows, classes=10),
        data=Digits(),
        objectives=(Accuracy(), Macs(), LatencyMs()),
        recipe=Recipe(epochs=epochs, learning_rate=1e-2),
        strategy=SurrogateSearch(Mixture),
        evaluations=evaluations,
        winners=Winners(
            count=3,
            recipe=Recipe(epochs=fine_tuning_epochs),
            passes=(
                Pipeline(LowBitRecurrent(bits=2, recipe=low_bit), PackedFile(), name="ternary"),
                Pipeline(LowBitRecurrent(bits=1, recipe=low_bit), PackedFile(), name="binary"),
            ),
        ),
        intended_use="Reading single handwritten digits of 8x8 pixels by their rows; a demonstration.",
    )
