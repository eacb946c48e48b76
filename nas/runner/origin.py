"""Where the weights that a study starts from were made."""

from __future__ import annotations

from nas.evaluation.from_scratch import FromScratch
from nas.runner.preparation import Prepared
from nas.supernet import NoTraining
from nas.supernet.convert import Converted


def outside_weights(prepared: Prepared) -> str | None:
    """Return what isn't known of weights that a run did not make itself; None where it made all of them.

    Weights that were trained on the test split make its figures too good, and nothing in them shows it.
    """
    digest = prepared.weights_digest()
    if digest is not None:
        which = f"The search began with weights from a file of the study's own (SHA-256 {digest})"
    elif _brings_weights(prepared):
        which = "The search began with the weights that the study's network is made with"
    else:
        return None
    return (
        f"{which}; what they had been trained on is not known here. If that was not the train split of this study "
        "alone, items of the test split may have been among it, and the figures of the test split would be too good."
    )


def _brings_weights(prepared: Prepared) -> bool:
    """Whether the network may bring trained weights that reach the winners."""
    network = prepared.supernet
    if isinstance(prepared.study.training, FromScratch):  # begins with new ones, but for what is frozen
        return any(not parameter.requires_grad for parameter in network.parameters())
    existed = any(isinstance(module, Converted) for module in network.modules())
    return existed or isinstance(prepared.study.training, NoTraining)
