"""A handwritten digit in clutter: a fine network looks only at the patches that a coarse one finds important.

How many patches is a choice beside the widths of both networks, and what each of them costs is counted exactly. A few
minutes on two cores, estimated.
"""

from __future__ import annotations

from functools import partial

from nas import Accuracy, LatencyMs, Macs, Recipe, Study, SurrogateSearch, Winners
from nas.data import ClutteredDigits
from search_spaces.dynamic_capacity import dynamic_capacity
from surrogates.mixture import Mixture


def study(epochs: int = 30, evaluations: int = 40, winners: int = 4) -> Study:
    """Return the study.

    Args:
        epochs: Epochs of the supernet's training.
        evaluations: How many architectures to evaluate.
        winners: How many to finish.
    """
    return Study(
        name="digits_cluttered",
        network=partial(dynamic_capacity, classes=10),
        data=ClutteredDigits(),
        objectives=(Accuracy(), Macs(), LatencyMs()),
        recipe=Recipe(epochs=epochs, learning_rate=3e-3),
        strategy=SurrogateSearch(Mixture),
        evaluations=evaluations,
        winners=Winners(count=winners, recipe=Recipe(epochs=10, learning_rate=1e-3)),
        intended_use="Reading the one whole handwritten digit of a cluttered 32x32 image; a demonstration of dynamic "
        "capacity.",
    )
