"""Weight clustering: each weight is one of a few values, and the file holds these and where each stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import onnx
from onnx import helper, numpy_helper

from nas.checks import failing_as
from nas.choices import Option
from nas.compression.onnx_files import (
    FLOAT_BITS,
    Packed,
    RoundingPass,
    check_bits,
    onnx_of,
    pack_nibbles,
    pack_weights,
    with_file,
)
from nas.compression.pipeline import Lab, Model
from nas.errors import ExportError

_OPSET, _IR_VERSION = 21, 10
"""The first that know numbers of 4 bits."""
_NODE_BYTES = 250
"""About what the two operators that look a weight up, and the names, take in a file."""
_MOST_STEPS = 300  # as scikit-learn's KMeans
_BINS = 64
"""Bins of the density: more would follow the noise of a few thousand weights."""


@final
@dataclass(frozen=True)
class Cluster(RoundingPass):
    """Values of each weight tensor by k-means (Han 2016): 16 of them in 4 bits, or 256 in 8.

    The file holds the values once and a number of 4 or 8 bits for each weight. ONNX Runtime looks the weights up
    once, as it opens the file: it is smaller, and takes as long to run and as much memory as in float32. Tensors for
    which this would take more bytes stay as they are, and so do biases.

    Args:
        bits: 4 or 8; or several and 32, a choice, where 32 changes nothing.
        name: For file names, tables and choices.

    Raises:
        StudyError: a setting is something else.
    """

    bits: int | tuple[int, ...] = 8
    name: str = "cluster"

    def __post_init__(self) -> None:
        check_bits("Cluster", self.bits, (4, 8, FLOAT_BITS))

    def apply(self, model: Model, options: Mapping[str, Option], lab: Lab) -> Model:
        """Return the file with codebooks.

        Raises:
            SpaceError: the options are others than those of its choice.
            ExportError: the file can't hold numbers of 4 bits, because it can't be of a later opset.
        """
        bits = self.choose_bits(options)
        if bits == FLOAT_BITS:
            return model
        made = onnx.load_model_from_string(onnx_of(model))
        if bits < 8:
            made = _of_later_opset(made)
        count = pack_weights(made.graph, lambda name, values: _make_lookup(name, values, bits))
        if not count:
            return model
        said = f"{self.name}: {count} weight tensors of {2**bits} values each"
        return with_file(model, made.SerializeToString(), said)


def codebook(values: np.ndarray[Any, Any], size: int) -> np.ndarray[Any, Any]:
    """Return k-means centres of numbers, in order, ``(size,)`` float32; fewer where fewer numbers differ.

    Lloyd's algorithm, from centres whose density is the cube root of the numbers', the best one where there are many
    (Panter 1951). In one dimension a cluster is an interval of the sorted numbers, so that a step costs next to
    nothing: milliseconds where scikit-learn takes tenths of a second.
    """
    ordered = np.sort(values, axis=None).astype(np.float64)
    centres = np.unique(ordered)
    if centres.size <= size:
        return centres.astype(np.float32)
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    counts, edges = np.histogram(ordered, bins=_BINS)
    density = np.concatenate([[0.0], np.cumsum(np.cbrt(counts))])
    centres = np.interp((np.arange(size) + 0.5) / size * density[-1], density, edges)
    for _ in range(_MOST_STEPS):
        ends = np.searchsorted(ordered, (centres[1:] + centres[:-1]) / 2)
        ends = np.concatenate([[0], ends, [ordered.size]])
        counts = np.diff(ends)
        moved = np.where(counts > 0, np.diff(sums[ends]) / np.maximum(counts, 1), centres)
        if np.array_equal(moved, centres):
            break
        centres = moved
    return np.sort(centres).astype(np.float32)


def nearest(values: np.ndarray[Any, Any], centres: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return which centre is nearest to each number, in the shape of ``values``."""
    return np.searchsorted((centres[1:] + centres[:-1]) / 2, values).astype(np.uint8)


def _make_lookup(name: str, values: np.ndarray[Any, Any], bits: int) -> Packed | None:
    saved = values.size * (4 - bits / 8) - 4 * 2**bits - _NODE_BYTES
    if values.ndim < 2 or saved <= 0 or not np.isfinite(values).all():
        return None
    centres = codebook(values, 2**bits)
    places, book, stored, cast = nearest(values, centres), f"{name}.values", f"{name}.places", f"{name}.index"
    if bits == 4:
        tensor = helper.make_tensor(
            stored, onnx.TensorProto.UINT4, values.shape, pack_nibbles(places), raw=True
        )
    else:
        tensor = numpy_helper.from_array(places, stored)
    nodes = [
        helper.make_node("Cast", [stored], [cast], to=onnx.TensorProto.INT32),
        helper.make_node("Gather", [book, cast], [name]),
    ]
    return Packed([numpy_helper.from_array(centres, book), tensor], nodes)


def _of_later_opset(model: Any) -> Any:
    """Return a model of an opset that knows numbers of 4 bits."""
    found = max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=0)
    if found < _OPSET:
        advice = "use 8 bits"
        with failing_as(ExportError, f"the file can't be of opset {_OPSET}, which knows 4 bits", advice):
            model = onnx.version_converter.convert_version(model, _OPSET)
    model.ir_version = max(model.ir_version, _IR_VERSION)
    return model
