"""Compression searched with the architecture, on scikit-learn's digits: 1.3e10 combinations, some minutes.

How many channels of a subnet stay and in how many bits its weights are stored are choices like its widths. A candidate
is evaluated as it would be shipped: pruned, clustered, with the bytes and the latency that it then has.
"""

from __future__ import annotations

import dataclasses

from nas import Accuracy, FineTune, LatencyMs, Pipeline, Prune, Study, WeightBytes
from nas.compression import Cluster
from studies.digits import study as digits


def study() -> Study:
    """Return the study."""
    plain = digits()
    return dataclasses.replace(
        plain,
        name="digits_compressed",
        objectives=(Accuracy(), LatencyMs(), WeightBytes()),
        pipeline=Pipeline(Prune(keep=(0.5, 0.75, 1.0)), FineTune(), Cluster(bits=(4, 8, 32))),
        winners=dataclasses.replace(plain.winners, passes=()),
        intended_use="Reading single handwritten digits of 8x8 pixels; a demonstration of compression in the search.",
    )
