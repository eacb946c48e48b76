"""Objectives: counted exactly, or measured with a spread."""

from nas.evaluation.candidate import OnnxCandidate, SubnetCandidate
from nas.evaluation.costs import Flops, Macs, NumParams, TrainingMacs, WeightBytes
from nas.evaluation.counts import NetworkCounter
from nas.evaluation.latency import LatencyMs
from nas.evaluation.quality import (
    F1,
    Accuracy,
    BalancedAccuracy,
    CalibrationError,
    ClassIoU,
    MeanAbsoluteError,
    MeanIoU,
    RootMeanSquaredError,
    TopK,
)

__all__ = [
    "F1",
    "Accuracy",
    "BalancedAccuracy",
    "CalibrationError",
    "ClassIoU",
    "Flops",
    "LatencyMs",
    "Macs",
    "MeanAbsoluteError",
    "MeanIoU",
    "NetworkCounter",
    "NumParams",
    "OnnxCandidate",
    "RootMeanSquaredError",
    "SubnetCandidate",
    "TopK",
    "TrainingMacs",
    "WeightBytes",
]
