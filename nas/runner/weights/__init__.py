"""Where a candidate's weights come from: the supernet, or a training of its own."""

from nas.runner.directory import RunDirectory
from nas.runner.preparation import Prepared
from nas.runner.weights.protocol import EvaluationBasis, Weights
from nas.runner.weights.scratch import EPOCHS, ScratchWeights, train_alone
from nas.runner.weights.supernet import SupernetWeights

__all__ = [
    "EPOCHS",
    "EvaluationBasis",
    "ScratchWeights",
    "SupernetWeights",
    "Weights",
    "train_alone",
    "weights_of",
]


def weights_of(prepared: Prepared, run: RunDirectory) -> Weights:
    """Return where a study's candidates get their weights: the one place that asks for the kind of its training."""
    own = prepared.study.own_training
    return SupernetWeights(prepared, run) if own is None else ScratchWeights(prepared, run, own)
