"""Selective int8: operators that lose too much, or that run no faster, stay float."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, final

import numpy as np
import torch

from nas.checks import check_integers, check_numbers
from nas.choices import Option
from nas.compression.onnx_files import FLOAT_BITS, RoundingPass, check_bits, onnx_of, with_file
from nas.compression.onnx_int8 import QUANTIZABLE, Quantizer, calibration_batches
from nas.compression.pipeline import Lab, Model
from nas.compression.reduced_range import check_reduced_range, choose_reduced_range
from nas.errors import StudyError
from nas.evaluation.candidate import OnnxCandidate
from nas.evaluation.latency import LatencyMs
from nas.evaluation.stored import count_stored_bytes
from nas.objectives import Bench
from nas.splits import Split
from nas.task import Task

_MOST_UNITS = 16
"""Each is tried alone, which takes a tenth of a second to a second; of more, neighbours are taken together."""
_CUTS = (1, 2, 3, 4, 6, 8, 10, 12, 13, 14, 15)
"""How many of the units that gain most stay float, together: finer where few do, and where few don't."""
_NOISE = 0.02
"""Relative noise of a ratio of two times, each of which varies by up to 0.9 % between processes
(``benchmarks/latency_repeat.py``)."""


@final
@dataclass(frozen=True)
class SelectiveInt8(RoundingPass):
    """Post-training int8 of those operators alone that it pays for.

    The loss and the time with each operator alone in float are measured on the int8 network; operators in the order
    of what they gain stay float together, more and more of them, as SeQTO does (Louloudakis 2026). Of all these
    files, and on this machine's processor, one is returned: of those that add no more to the loss than is allowed
    and are no slower than the float file, beyond the noise of 2 %, the one of which time × stored bytes is least.
    Where that is the float file itself, the model stays as it is.

    Args:
        bits: 8; or (8, 32), a choice whether to do it at all.
        num_images: Training items that set the activations' ranges, and as many that the loss is of.
        loss_share: How much may be added to the float file's loss, as a share of it.
        reduce_range: Whether weights use 7 of the 8 bits; None where this machine's processor says so.
        name: For file names, tables and choices.

    Raises:
        StudyError: a setting is out of range.
    """

    bits: int | tuple[int, ...] = 8
    num_images: int = 512
    loss_share: float = 0.05
    reduce_range: bool | None = None
    name: str = "int8-selective"

    def __post_init__(self) -> None:
        check_bits("SelectiveInt8", self.bits, (8, FLOAT_BITS))
        check_integers(self, "num_images")
        check_numbers(self, "loss_share")
        if self.num_images < 1 or not 0 <= self.loss_share < np.inf:
            raise StudyError(
                f"SelectiveInt8 has num_images={self.num_images} and loss_share={self.loss_share}: an item or more, "
                "and a finite share of 0 or more are expected."
            )
        check_reduced_range("SelectiveInt8", self.reduce_range)

    def apply(self, model: Model, options: Mapping[str, Option], lab: Lab) -> Model:
        """Return the best file in int8, or the model as it is where none pays.

        Raises:
            SpaceError: the options are others than those of its choice.
            ExportError: ONNX Runtime can't quantize the network.
        """
        if self.choose_bits(options) == FLOAT_BITS:
            return model
        source = onnx_of(model)
        meter = _FileMeter(self._items(lab), lab.task)
        quantizer = Quantizer(source, calibration_batches(lab.train, self.num_images))
        search = _Search(quantizer, source, meter, self.loss_share, choose_reduced_range(self.reduce_range))
        best = search.best()
        if best.units is None:
            said = f"{self.name} left it as it is: no part is faster or smaller in int8 at the loss that is allowed"
            return replace(model, applied=(*model.applied, said))
        kept = ", ".join(best.units) or "none"
        return with_file(model, best.content, f"{self.name}, in float: {kept}")

    def _items(self, lab: Lab) -> Split:
        rows = np.random.default_rng(lab.seed).permutation(len(lab.train))[: self.num_images]
        return lab.train.subset(torch.from_numpy(np.sort(rows)))


@final
@dataclass(frozen=True)
class _File:
    """A file that is evaluated.

    Args:
        content: Serialised ONNX.
        units: Names of what stays float in it; None for the float file.
        time: As a multiple of the reference network's.
        meter: Tells the loss, of those files alone of which it matters.
    """

    content: bytes
    units: tuple[str, ...] | None
    time: float
    meter: _FileMeter

    @cached_property
    def cost(self) -> float:
        """Time × stored bytes."""
        return self.time * count_stored_bytes(self.content)

    @cached_property
    def loss(self) -> float:
        """On the items."""
        return self.meter.loss(self.content)


@final
class _FileMeter:
    """Measures files: losses on some items, times in turns with each other."""

    def __init__(self, items: Split, task: Task) -> None:
        self._items, self._task = items, task
        self._latency = LatencyMs(short_seconds=0.02, long_seconds=0.2)

    def files(self, made: Sequence[tuple[bytes, tuple[str, ...] | None]]) -> list[_File]:
        """Return files with the time that they take."""
        times = self.times([content for content, _ in made], thorough=False)
        return [_File(content, units, time, self) for (content, units), time in zip(made, times, strict=True)]

    def is_slower(self, file: _File, other: _File) -> bool:
        """Whether a file is slower than another one, in a longer measurement."""
        first, second = self.times([file.content, other.content], thorough=True)
        return first > second * (1 + _NOISE)

    def times(self, contents: Sequence[bytes], *, thorough: bool) -> list[float]:
        """Return multiples of the reference network's time."""
        calibration: dict[str, float | str] = {"reference_ms": 1.0, "device": self._latency.identity()}
        bench = Bench(self._items, thorough, calibration)
        return [found.value for found in self._latency.measure([OnnxCandidate(c) for c in contents], bench)]

    def loss(self, content: bytes) -> float:
        """Return the loss on the items."""
        outputs = OnnxCandidate(content).predict(self._items.batch(slice(None)))
        return float(self._task.loss(outputs, self._items.targets))


@final
@dataclass(frozen=True)
class _Search:
    """Files in which some operators stay float, and the best of them."""

    quantizer: Quantizer
    source: bytes
    meter: _FileMeter
    loss_share: float
    reduce_range: bool

    def best(self) -> _File:
        """Return the file of least cost that adds little to the loss and is no slower than the float file."""
        given, *found = self.files()
        fit = [file for file in found if file.cost < given.cost and file.time <= given.time * (1 + _NOISE)]
        # The loss and the long measurement are made of few files only, the most promising first.
        for file in sorted(fit, key=lambda file: file.cost):
            if self._is_allowed(file, given) and not self.meter.is_slower(file, given):
                return file
        return given

    def _is_allowed(self, file: _File, given: _File) -> bool:
        return file.loss <= given.loss + self.loss_share * abs(given.loss)

    def files(self) -> list[_File]:
        """Return the float file, that all in int8, those with one unit in float, and those with several."""
        units = float_units(self.quantizer.prepared)
        float_file: tuple[bytes, tuple[str, ...] | None] = (self.source, None)
        alone = [self._quantize_but(units, [name]) for name in units]
        # Measured in one session, because times of different sessions can't be compared to the percent.
        given, whole, *single = self.meter.files([float_file, self._quantize_but(units, ()), *alone])
        more = [self._quantize_but(units, chosen) for chosen in self._together(given, whole, single)]
        if not more:
            return [given, whole, *single]
        again, *rest = self.meter.files([float_file, *more])
        # The float file is in both measurements: the second's times are put on the scale of the first's.
        rest = [replace(file, time=file.time * given.time / again.time) for file in rest]
        return [given, whole, *single, *rest]

    def _quantize_but(
        self, units: Mapping[str, list[str]], chosen: Sequence[str]
    ) -> tuple[bytes, tuple[str, ...] | None]:
        nodes = [node for name in chosen for node in units[name]]
        return self.quantizer.quantize(float_nodes=nodes, reduce_range=self.reduce_range), tuple(chosen)

    def _together(self, given: _File, whole: _File, single: Sequence[_File]) -> list[tuple[str, ...]]:
        """Return which units stay float together: those that gain most by it, in cost, and in loss if that matters."""
        names = [name for file in single for name in file.units or ()]
        cheaper = np.array([1 - file.cost / whole.cost for file in single])
        gains = [cheaper]
        # Where int8 everywhere is good enough already, what a part adds to the loss is no reason to keep it in float.
        if not self._is_allowed(whole, given):
            better = np.array([whole.loss - file.loss for file in single]) / (whole.loss - given.loss)
            gains += [better, cheaper + better]
        orders = [np.argsort(-gain, kind="stable") for gain in gains]
        cuts = [order[:cut] for order in orders for cut in _CUTS if 1 < cut <= len(names)]
        return list({frozenset(cut): tuple(names[place] for place in sorted(cut)) for cut in cuts}.values())


def float_units(prepared: Any) -> dict[str, list[str]]:
    """Return what stays float together, by name: the names of operators in a prepared model.

    An operator with weights, with the bias and the activation that ONNX Runtime runs in it; all others of one type.
    """
    weights = {tensor.name for tensor in prepared.graph.initializer}
    readers = Counter(name for node in prepared.graph.node for name in node.input)
    weighted: dict[str, list[str]] = {}
    others: dict[str, list[str]] = {}
    unit_of: dict[str, str] = {}
    for node in prepared.graph.node:
        if node.op_type not in QUANTIZABLE:
            continue
        parents = [unit_of[name] for name in node.input if name in unit_of and readers[name] == 1]
        has_weights = len(node.input) > 1 and node.input[1] in weights
        if has_weights and node.op_type in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
            unit = weighted.setdefault(node.name, [])
            unit_of[node.output[0]] = node.name
        elif parents and (
            node.op_type in ("Relu", "Clip") or (node.op_type == "Add" and weights & {*node.input})
        ):
            unit = weighted[parents[0]]
            unit_of[node.output[0]] = parents[0]
        else:
            unit = others.setdefault(f"all {node.op_type}", [])
        unit.append(node.name)
    return {**_join_units(weighted, max(1, _MOST_UNITS - len(others))), **others}


def _join_units(units: Mapping[str, list[str]], most: int) -> dict[str, list[str]]:
    """Return at most so many units, of neighbours where there are more."""
    parts = np.array_split(list(units), min(most, len(units))) if units else []
    return {
        str(part[0]) if len(part) == 1 else f"{part[0]} to {part[-1]}": [
            node for name in part for node in units[name]
        ]
        for part in parts
    }
