"""Qualities: how well networks do what they are for. Each file holds those of one kind of task."""

from nas.evaluation.quality.classes import F1, Accuracy, BalancedAccuracy, CalibrationError, TopK
from nas.evaluation.quality.errors import MeanAbsoluteError, RootMeanSquaredError
from nas.evaluation.quality.overlap import ClassIoU, MeanIoU

__all__ = [
    "F1",
    "Accuracy",
    "BalancedAccuracy",
    "CalibrationError",
    "ClassIoU",
    "MeanAbsoluteError",
    "MeanIoU",
    "RootMeanSquaredError",
    "TopK",
]
