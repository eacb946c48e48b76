"""Qualities: how well networks do what they are for. Each file holds those of one kind of task."""

from nas.evaluation.quality.classes import F1, Accuracy, BalancedAccuracy, CalibrationError, TopK
from nas.evaluation.quality.errors import MeanAbsoluteError, RootMeanSquaredError
from nas.evaluation.quality.overlap import ClassIoU, MeanIoU
from nas.evaluation.quality.sequences import CharacterErrorRate, WordErrorRate

__all__ = [
    "F1",
    "Accuracy",
    "BalancedAccuracy",
    "CalibrationError",
    "CharacterErrorRate",
    "ClassIoU",
    "MeanAbsoluteError",
    "MeanIoU",
    "RootMeanSquaredError",
    "TopK",
    "WordErrorRate",
]
