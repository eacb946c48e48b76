"""What winners go through: the whole pipeline, and fine-tuning by a better teacher."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from torch import nn

from nas.compression.fine_tune import FineTune
from nas.compression.pipeline import CompressionPass
from nas.objective import Measurement
from nas.objectives import Bench, Candidate
from nas.runner.compressing import Compressed, compress, lab_of
from nas.runner.measuring import Known, measure_winners
from nas.runner.preparation import Prepared
from nas.runner.weights import Weights
from nas.space import Architecture

_ASSISTANTS = (1 / 3, 2 / 3)
"""Where between the smallest and the largest subnet further teachers lie, choice by choice."""


def finish_network(
    prepared: Prepared, architecture: Architecture, weights: Weights, known: Known, folder: Path
) -> Compressed:
    """Return a winner after the whole pipeline. A call after a kill goes on where the killed one stopped.

    Without a pass that trains the module, it is fine-tuned behind the last one on it.

    The largest subnet teaches it, where that is the better of the two beyond their noise. Where it was hardly
    trained it would hold its student back.
    """
    module, pipeline = weights.module(architecture), prepared.study.pipeline
    teacher = better_teacher(prepared, weights, module, known)
    lab = lab_of(prepared, folder, teacher, partial(_assistants, prepared, weights))
    trains = any(made.trains for made in pipeline.on_module)
    training: tuple[CompressionPass, ...] = () if trains else (FineTune(),)
    passes = (*pipeline.on_module, *training, *pipeline.on_file)
    return compress(prepared, passes, architecture, module, lab)


def _assistants(prepared: Prepared, weights: Weights) -> list[nn.Module]:
    """Return subnets between the smallest and the largest, as teachers."""
    own = prepared.supernet.space
    rows = np.rint(np.outer(_ASSISTANTS, own.num_options - 1)).astype(np.int64)
    added = prepared.study.added_space.largest()
    return [
        weights.module(prepared.problem.space.architecture({**network, **added}))
        for network in own.from_indices(rows)
    ]


def better_teacher(
    prepared: Prepared, weights: Weights, student: nn.Module, known: Known
) -> nn.Module | None:
    """Return the largest subnet, where it is better than a student; None otherwise."""
    teacher = weights.teacher()
    if teacher is None:
        return None
    by, of = (final_quality(prepared, prepared.candidate(module), known) for module in (teacher, student))
    return teacher if is_better(prepared, by, of) else None


def is_better(prepared: Prepared, by: Measurement, of: Measurement) -> bool:
    """Whether ``by`` is better than ``of`` beyond their noise."""
    cost = prepared.measured[0].objective.cost
    return cost(of.value) - cost(by.value) > by.spread + of.spread


def final_quality(prepared: Prepared, candidate: Candidate, known: Known) -> Measurement:
    """Return the quality of a network on the whole search split, measured at length."""
    quality = prepared.measured[0]
    bench = Bench(prepared.splits.search, thorough=True, calibration=known[quality.objective.name])
    return measure_winners(prepared, quality, [candidate], bench)[0]
