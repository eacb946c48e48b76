"""Where the weights that a study starts from were made."""

from __future__ import annotations

from nas.runner.preparation import Prepared
from nas.runner.weights import Weights


def outside_weights(prepared: Prepared, weights: Weights) -> str | None:
    """Return a warning about weights that the run did not make itself; None if it made all of them.

    If such weights were trained on the test split, the figures are too good, and nothing in the weights shows it.
    """
    digest = prepared.weights_digest()
    if digest is not None:
        which = f"The search began with weights from a file of the study's own (SHA-256 {digest})"
    elif weights.come_with_network:
        which = "The search began with the weights that the study's network is made with"
    else:
        return None
    return (
        f"{which}; what they had been trained on is not known here. If that was not the train split of this study "
        "alone, items of the test split may have been among it, and the figures of the test split would be too good."
    )
