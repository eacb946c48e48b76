"""The front of what is shipped: every variant of every finished network, measured together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import final

import numpy as np
import optuna
from numpy.typing import NDArray

from nas import pareto
from nas.evaluation import OnnxCandidate
from nas.evaluation.stored import stored_bytes
from nas.export.names import variant_file
from nas.files import damaged, file_digest
from nas.objective import Measurement, excess_over
from nas.protocols import Bench, Candidate, MeasuredObjective
from nas.report.results import FILE_BYTES, Variant
from nas.runner.compressing import BYTES_PER_PARAM
from nas.runner.directory import RunDirectory
from nas.runner.measuring import CALIBRATION, counted_measurements, judged
from nas.runner.preparation import Prepared
from nas.runner.steps import Step
from nas.runner.variants import Made
from nas.search.patience import waited_for
from nas.space import Architecture, FloatArray


@final
@dataclass(frozen=True)
class Finished:
    """A network whose files are made.

    Args:
        architecture: Its architecture.
        folder: Of its files.
        made: Its variants, the float32 one first, of which the others were made.
    """

    architecture: Architecture
    folder: Path
    made: tuple[Made, ...]

    def files(self) -> list[Path]:
        """Return the variants' ONNX files."""
        return [self.folder / variant_file(made.name) for made in self.made]


def measured_in_the_end(
    prepared: Prepared, objective: MeasuredObjective, candidates: Sequence[Candidate], bench: Bench
) -> list[Measurement]:
    """Return what an objective measures of winners; a device that is away is waited for."""
    of_device = objective is not prepared.measured[0]
    work = partial(judged, objective, candidates, bench, of_device=of_device)
    return waited_for(work, f"measuring {objective.objective.name!r} of the winners")


def measure_variants(
    prepared: Prepared,
    run: RunDirectory,
    record: optuna.Study,
    networks: Sequence[Finished],
    num_winners: int,
) -> list[list[Variant]]:
    """Measure every variant of every network together, and mark the final front.

    It is the winners', which come first; others are marked where no variant of a winner dominates them. A variant
    that is worse than the float32 one it was made from in every column that differs is not shipped, and no front has
    it.
    """
    measured = _measured(prepared, run, record, [path for network in networks for path in network.files()])
    made = [(network, one) for network in networks for one in network.made]
    values = [
        {**_counted(prepared, network, one), **found}
        for (network, one), found in zip(made, measured, strict=True)
    ]
    objectives = [*prepared.problem.objectives, FILE_BYTES]
    costs = np.array([[o.cost(row[o.name].value) for o in objectives] for row in values])
    limits = prepared.problem.soft_limits
    over = excess_over(limits, objectives, costs)
    starts = np.cumsum([0, *(len(network.made) for network in networks)])
    parents = np.repeat(starts[:-1], np.diff(starts))
    shipped = ~_worse_throughout(costs, costs[parents])
    on_front = _fronts(costs, over, np.flatnonzero(shipped[: starts[num_winners]]))
    variants = [
        Variant(
            name=one.name,
            file=variant_file(one.name),
            values=row,
            on_front=bool(front and ships),
            exceeds=tuple(name for name, limit in limits.items() if row[name].value > limit),
            applied=one.applied,
            shipped=bool(ships),
        )
        for (_, one), row, front, ships in zip(made, values, on_front, shipped, strict=True)
    ]
    return [variants[start:end] for start, end in pairwise(starts.tolist())]


def _measured(
    prepared: Prepared, run: RunDirectory, record: optuna.Study, files: Sequence[Path]
) -> list[dict[str, Measurement]]:
    """Return what is measured of files on the test split, by name; done once."""
    inputs = [[path.name, file_digest(path)] for path in files]
    step = Step(run.winners / "measurements.json", inputs)
    stored = step.result(list[dict[str, Measurement]])
    if stored is None:
        candidates = [OnnxCandidate(path) for path in files]
        stored = [{} for _ in files]
        for objective in prepared.measured:
            name = objective.objective.name
            known = record.user_attrs[CALIBRATION][name]
            bench = Bench(prepared.splits.test, thorough=True, calibration=known)
            found = measured_in_the_end(prepared, objective, candidates, bench)
            for row, measurement in zip(stored, found, strict=True):
                row[name] = measurement
        step.store([{name: m.to_json() for name, m in row.items()} for row in stored])
    names = {o.objective.name for o in prepared.measured}
    if len(stored) != len(files) or any(row.keys() != names for row in stored):
        raise damaged(step.path, f"the {sorted(names)} of {len(files)} files are expected")
    return stored


def _counted(prepared: Prepared, network: Finished, made: Made) -> dict[str, Measurement]:
    """Return what is counted of a variant.

    The file of a plain export counts as the search counted it, 4 bytes for each parameter, though the exporter folds
    batch normalisation into the layers before it. Any other file counts as it is.
    """
    path = network.folder / variant_file(made.name)
    is_plain = made is network.made[0]
    stored = BYTES_PER_PARAM * made.num_params if is_plain else stored_bytes(path.read_bytes())
    of_network = prepared.counts(prepared.problem.space.indices([network.architecture]))
    macs, num_params, bytes_ = (
        np.array([number], dtype=np.int64) for number in (made.macs, made.num_params, stored)
    )
    counts = replace(of_network, macs=macs, num_params=num_params, stored_bytes=bytes_)
    size = Measurement(float(path.stat().st_size), 0.0, FILE_BYTES.unit, "", 1)
    return {**counted_measurements(prepared, counts), FILE_BYTES.name: size}


def _worse_throughout(costs: FloatArray, parents: FloatArray) -> NDArray[np.bool_]:
    """Return which of ``(n, m)`` costs are higher than ``(n, m)`` others in every column that differs, and some do."""
    differ = costs != parents
    return np.asarray(((costs > parents) | ~differ).all(axis=1) & differ.any(axis=1))


def _fronts(costs: FloatArray, over: FloatArray, judges: NDArray[np.int64]) -> list[bool]:
    """Return which rows are on the front of some, or would be if they were added to these alone."""
    front = dict(
        zip(judges.tolist(), pareto.constrained_non_dominated(costs[judges], over[judges]), strict=True)
    )
    for row in range(len(costs)):
        if row not in front:
            rows = [*judges, row]
            front[row] = pareto.constrained_non_dominated(costs[rows], over[rows])[-1]
    return [bool(front[row]) for row in range(len(costs))]
