"""Objectives: counted exactly, or measured with a spread; train splits that short trainings choose."""

from nas.evaluation.candidate import OnnxCandidate, SubnetCandidate
from nas.evaluation.costs import Flops, Macs, NumParams, TrainingMacs, WeightBytes
from nas.evaluation.counts import NetworkCounter
from nas.evaluation.energy import EnergyMj
from nas.evaluation.expected import ExpectedFlops
from nas.evaluation.h_score import HScoreSubset, RandomSubset
from nas.evaluation.latency import LatencyMs
from nas.evaluation.modelled_gap8 import ModelledGap8Ms
from nas.evaluation.peak_memory import PeakMemory
from nas.evaluation.quality import (
    F1,
    Accuracy,
    BalancedAccuracy,
    CalibrationError,
    CharacterErrorRate,
    ClassIoU,
    MeanAbsoluteError,
    MeanIoU,
    RootMeanSquaredError,
    TopK,
    WordErrorRate,
)

__all__ = [
    "F1",
    "Accuracy",
    "BalancedAccuracy",
    "CalibrationError",
    "CharacterErrorRate",
    "ClassIoU",
    "EnergyMj",
    "ExpectedFlops",
    "Flops",
    "HScoreSubset",
    "LatencyMs",
    "Macs",
    "MeanAbsoluteError",
    "MeanIoU",
    "ModelledGap8Ms",
    "NetworkCounter",
    "NumParams",
    "OnnxCandidate",
    "PeakMemory",
    "RandomSubset",
    "RootMeanSquaredError",
    "SubnetCandidate",
    "TopK",
    "TrainingMacs",
    "WeightBytes",
    "WordErrorRate",
]
