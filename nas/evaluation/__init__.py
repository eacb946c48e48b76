"""Objectives: counted exactly, or measured with a spread."""

from nas.evaluation.accuracy import Accuracy
from nas.evaluation.candidate import OnnxCandidate, SubnetCandidate
from nas.evaluation.costs import Flops, Macs, NumParams, WeightBytes
from nas.evaluation.counts import NetworkCounter
from nas.evaluation.latency import LatencyMs

__all__ = [
    "Accuracy",
    "Flops",
    "LatencyMs",
    "Macs",
    "NetworkCounter",
    "NumParams",
    "OnnxCandidate",
    "SubnetCandidate",
    "WeightBytes",
]
