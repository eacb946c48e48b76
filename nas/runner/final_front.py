"""The front of what is shipped: every variant of every finished network, measured together."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import final

import numpy as np
import optuna

from nas.evaluation import OnnxCandidate
from nas.evaluation.stored import count_stored_bytes
from nas.export.names import variant_file
from nas.files import file_digest, make_damage_error
from nas.objective import Measurement, Objective, excess_over
from nas.objectives import Bench
from nas.report.results import FILE_BYTES, Variant
from nas.runner.compressing import BYTES_PER_PARAM
from nas.runner.context import RunContext
from nas.runner.measuring import CALIBRATION, count_measurements, measure_winners, names_on_device
from nas.runner.placing import Places, place_variants
from nas.runner.preparation import Prepared
from nas.runner.settling import Row, settle_ties
from nas.runner.steps import CachedStep
from nas.runner.variants import Made
from nas.space import Architecture, IntArray


@final
@dataclass(frozen=True)
class Finished:
    """A network whose files are made.

    Args:
        architecture: Architecture of the network.
        folder: Folder of its files.
        made: Variants of the network; the float32 one first, from which the others were made.
    """

    architecture: Architecture
    folder: Path
    made: tuple[Made, ...]

    def files(self) -> list[Path]:
        """Return the variants' ONNX files."""
        return [self.folder / variant_file(made.name) for made in self.made]


def measure_variants(
    context: RunContext, record: optuna.Study, networks: Sequence[Finished], num_winners: int
) -> list[list[Variant]]:
    """Measure every variant of every network together, and mark the final front.

    The final front is that of the winners, which come first; a variant of another network is marked where no variant of
    a winner dominates it. A variant that is dominated by the float32 one from which it was made is not shipped, and no
    front has it. Within the noise of a device neither of two dominates, so those that tie are measured again first.
    """
    prepared = context.prepared
    made = [(network, one) for network in networks for one in network.made]
    table = _VariantRows(
        objectives=(*prepared.problem.objectives, FILE_BYTES),
        limits=prepared.problem.soft_limits,
        counted=[_count_variant(prepared, network, one) for network, one in made],
        on_device=names_on_device(prepared.measured, record.user_attrs[CALIBRATION]),
        starts=np.cumsum([0, *(len(network.made) for network in networks)]),
        num_winners=num_winners,
    )
    files = [path for network in networks for path in network.files()]
    variants = _list_variants(table, _measure_files(context, record, table, files), made)
    return [variants[start:end] for start, end in pairwise(table.starts.tolist())]


@final
@dataclass(frozen=True)
class _VariantRows:
    """Variants in rows, those of a network one after another; the final front's objectives in columns.

    Args:
        objectives: In the order of the columns.
        limits: Soft ones, by objective.
        counted: What is counted of each variant.
        on_device: Objectives whose noise measuring again would show.
        starts: ``(networks + 1,)`` row at which each network begins.
        num_winners: How many networks, from the first on, are winners.
    """

    objectives: tuple[Objective, ...]
    limits: Mapping[str, float]
    counted: Sequence[Row]
    on_device: Collection[str]
    starts: IntArray
    num_winners: int

    def whole(self, measured: Sequence[Row]) -> list[Row]:
        """Return everything that is known of each variant."""
        return [{**known, **found} for known, found in zip(self.counted, measured, strict=True)]

    def places(self, rows: Sequence[Row]) -> Places:
        """Return where variants stand, of which everything is known."""
        costs = np.array([[o.cost(row[o.name].value) for o in self.objectives] for row in rows])
        spreads = np.array([[row[o.name].spread for o in self.objectives] for row in rows])
        noisy = np.array([o.name in self.on_device for o in self.objectives])
        over = excess_over(self.limits, self.objectives, costs)
        parents = np.repeat(self.starts[:-1], np.diff(self.starts))
        num_contenders = int(self.starts[self.num_winners])
        return place_variants(costs, np.where(noisy, spreads, 0.0), over, parents, num_contenders)

    def ties(self, measured: Sequence[Row]) -> dict[str, list[int]]:
        """Return by objective the rows of the front that tie in it."""
        tied = np.asarray(self.places(self.whole(measured)).tied.any(axis=1))
        columns = [(o.name, np.flatnonzero(tied[:, at]).tolist()) for at, o in enumerate(self.objectives)]
        return {name: rows for name, rows in columns if rows}


def _list_variants(
    table: _VariantRows, measured: Sequence[Row], made: Sequence[tuple[Finished, Made]]
) -> list[Variant]:
    """Return the variants in the order of the rows, with what is known of each and where it stands."""
    rows = table.whole(measured)
    places = table.places(rows)
    labels = [f"{network.architecture.id} {one.name}" for network, one in made]
    return [
        Variant(
            name=one.name,
            file=variant_file(one.name),
            values=rows[at],
            on_front=bool(places.on_front[at]),
            exceeds=tuple(n for n, limit in table.limits.items() if rows[at][n].value > limit),
            applied=one.applied,
            shipped=bool(places.shipped[at]),
            tied_with=tuple(labels[other] for other in np.flatnonzero(places.tied[at].any(axis=1))),
        )
        for at, (_, one) in enumerate(made)
    ]


def _measure_files(
    context: RunContext, record: optuna.Study, table: _VariantRows, files: Sequence[Path]
) -> list[Row]:
    """Return what is measured of files on the test split, by name; done once, and again where files tie."""
    prepared, run = context.prepared, context.run
    inputs = [[path.name, file_digest(path)] for path in files]
    objectives = {o.objective.name: o for o in prepared.measured}

    def measure(name: str, rows: Sequence[int]) -> list[Measurement]:
        candidates = [OnnxCandidate(files[row]) for row in rows]
        bench = Bench(prepared.splits.test, thorough=True, calibration=record.user_attrs[CALIBRATION][name])
        return measure_winners(prepared, objectives[name], candidates, bench)

    # Kept, because the test split is read once: whoever chooses by it again and again fits the winners to it.
    step = CachedStep(run.winners / "measurements.json", inputs)
    stored = step.result(list[dict[str, Measurement]])
    if stored is None:
        stored = [{} for _ in files]
        for name in objectives:
            for row, measurement in zip(stored, measure(name, range(len(files))), strict=True):
                row[name] = measurement
        step.store([{name: m.to_json() for name, m in row.items()} for row in stored])
    if len(stored) != len(files) or any(row.keys() != objectives.keys() for row in stored):
        raise make_damage_error(step.path, f"the {sorted(objectives)} of {len(files)} files are expected")
    again = CachedStep(run.winners / "measured_again.json", inputs)
    return settle_ties(stored, table.ties, measure, again, prepared.study.winners.tie_rounds)


def _count_variant(prepared: Prepared, network: Finished, made: Made) -> dict[str, Measurement]:
    """Return what is counted of a variant.

    The file of a plain export counts as the search counted it, 4 bytes for each parameter, though the exporter folds
    batch normalisation into the layers before it. Any other file counts as it is.
    """
    path = network.folder / variant_file(made.name)
    is_plain = made is network.made[0]
    stored = BYTES_PER_PARAM * made.num_params if is_plain else count_stored_bytes(path.read_bytes())
    of_network = prepared.counts(prepared.problem.space.indices([network.architecture]))
    macs, num_params, bytes_ = (
        np.array([number], dtype=np.int64) for number in (made.macs, made.num_params, stored)
    )
    counts = replace(of_network, macs=macs, num_params=num_params, stored_bytes=bytes_)
    size = Measurement(float(path.stat().st_size), 0.0, FILE_BYTES.unit, "", 1)
    return {**count_measurements(prepared, counts), FILE_BYTES.name: size}
