"""Weights alone in 4 or 8 bits, for Transformers: ONNX Runtime's kernels compute with them in float."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import onnx
from onnx import helper, numpy_helper

from nas.checks import check_integers, failing_as
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
from nas.compression.onnx_int8 import quiet_log
from nas.compression.pipeline import Lab, Model
from nas.errors import ExportError, StudyError

with quiet_log():  # importing it gives the root logger a handler
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

_DOMAIN = "com.microsoft"


@final
@dataclass(frozen=True)
class WeightOnly(RoundingPass):
    """Rounds the weights of MatMul operators and tables of embeddings; activations stay float.

    Every ``block_size`` weights in a row share a scale, symmetric. 4 bits run in ONNX Runtime's MatMulNBits, which
    takes 1.03 to 1.10 times as long as float32 on a CPU with AVX2. Its kernel for 8 bits takes twice as long and
    more, so these have a scale per column instead and are unpacked once, as the file is opened. Tables are read by
    GatherBlockQuantized. Linear layers are a MatMul where their input has three dimensions or more, as in
    Transformers.

    Args:
        bits: 4 or 8; or several and 32, a choice, where 32 changes nothing.
        block_size: A power of 2 from 16 on.
        name: For file names, tables and choices.

    Raises:
        StudyError: a setting is something else.
    """

    bits: int | tuple[int, ...] = 4
    block_size: int = 32
    name: str = "weights"

    def __post_init__(self) -> None:
        check_bits("WeightOnly", self.bits, (4, 8, FLOAT_BITS))
        check_integers(self, "block_size")
        if self.block_size < 16 or self.block_size & (self.block_size - 1):
            raise StudyError(
                f"WeightOnly has block_size={self.block_size}: a power of 2 from 16 on is expected."
            )

    def apply(self, model: Model, options: Mapping[str, Option], lab: Lab) -> Model:
        """Return the file with rounded weights.

        Raises:
            SpaceError: the options are others than those of its choice.
            ExportError: no MatMul has constant weights.
        """
        bits = self.choose_bits(options)
        if bits == FLOAT_BITS:
            return model
        made = onnx.load_model_from_string(onnx_of(model))
        _join_copies(made.graph)
        weights = _weights_of(made.graph, "MatMul", place=1)
        if not weights:
            raise ExportError(
                f"the pass {self.name!r} found no MatMul with constant weights, which Transformers have: take it out, "
                "or use Cluster, which any network can have."
            )
        if bits == 4:
            made = _in_four_bits(made, self.block_size)
        else:
            pack_weights(
                made.graph, lambda name, values: _in_eight_bits(name, values) if name in weights else None
            )
        tables = _round_tables(made, bits, self.block_size)
        said = f"{self.name}: {len(weights)} weights and {tables} tables of {bits} bits"
        return with_file(model, made.SerializeToString(), said)


def _join_copies(graph: Any) -> None:
    """Let operators read a weight itself, where the exporter names it again because it is used again; in place."""
    weights = {tensor.name for tensor in graph.initializer}
    copies = [node for node in graph.node if node.op_type == "Identity" and node.input[0] in weights]
    original = {node.output[0]: node.input[0] for node in copies}
    for node in copies:
        graph.node.remove(node)
    for node in graph.node:
        names = [original.get(name, name) for name in node.input]
        del node.input[:]
        node.input.extend(names)


def _weights_of(graph: Any, op_type: str, place: int) -> set[str]:
    """Return the float matrices that operators of a type alone read, and these at that place alone."""
    matrices = {
        t.name for t in graph.initializer if t.data_type == onnx.TensorProto.FLOAT and len(t.dims) == 2
    }
    read = [
        (name, node.op_type == op_type and number == place)
        for node in graph.node
        for number, name in enumerate(node.input)
    ]
    return (matrices & {name for name, fits in read if fits}) - {name for name, fits in read if not fits}


def _in_four_bits(model: Any, block_size: int) -> Any:
    with quiet_log(), failing_as(ExportError, "ONNX Runtime can't round weights to 4 bits", "use 8 bits"):
        quantizer = MatMulNBitsQuantizer(model, bits=4, block_size=block_size, is_symmetric=True)
        quantizer.process()
    made = quantizer.model.model
    once = {
        tensor.name: tensor for tensor in made.graph.initializer
    }  # a weight that is used twice is written twice
    kept = list(once.values())
    del made.graph.initializer[:]
    made.graph.initializer.extend(kept)
    return made


def _in_eight_bits(name: str, values: np.ndarray[Any, Any]) -> Packed:
    scale = (np.maximum(np.abs(values).max(0), np.finfo(np.float32).tiny) / 127).astype(np.float32)
    rounded, scales, cast = f"{name}.int8", f"{name}.scale", f"{name}.float"
    tensors = [
        numpy_helper.from_array(np.rint(values / scale).astype(np.int8), rounded),
        numpy_helper.from_array(scale, scales),
    ]
    nodes = [
        helper.make_node("Cast", [rounded], [cast], to=onnx.TensorProto.FLOAT),
        helper.make_node("Mul", [cast, scales], [name]),
    ]
    return Packed(tensors, nodes)


def _round_tables(model: Any, bits: int, block_size: int) -> int:
    """Let GatherBlockQuantized read tables of embeddings, in place; return how many."""
    graph = model.graph
    names = _weights_of(graph, "Gather", place=0)
    tables = {t.name: t for t in graph.initializer if t.name in names and t.dims[1] % 2 == 0}
    readers = [node for node in graph.node if node.op_type == "Gather" and node.input[0] in tables]
    skipped = {
        node.input[0] for node in readers if any(a.name == "axis" and a.i != 0 for a in node.attribute)
    }
    rounded = [name for name in tables if name not in skipped]
    for name in rounded:
        packed, scales = _round_table(numpy_helper.to_array(tables[name]), bits, block_size)
        graph.initializer.remove(tables[name])
        for kind, values in (("rounded", packed), ("scales", scales)):
            graph.initializer.append(numpy_helper.from_array(values, f"{name}.{kind}"))
        for node in [node for node in readers if node.input[0] == name]:
            node.CopyFrom(_read_rounded(node, name, bits, block_size))
    if rounded and not any(entry.domain == _DOMAIN for entry in model.opset_import):
        model.opset_import.append(helper.make_opsetid(_DOMAIN, 1))
    return len(rounded)


def _read_rounded(node: Any, name: str, bits: int, block_size: int) -> Any:
    """Return what takes a Gather's place."""
    return helper.make_node(
        "GatherBlockQuantized",
        [f"{name}.rounded", node.input[1], f"{name}.scales"],
        node.output,
        node.name,
        domain=_DOMAIN,
        bits=bits,
        block_size=block_size,
        gather_axis=0,
        quantize_axis=1,
    )


def _round_table(
    table: np.ndarray[Any, Any], bits: int, block_size: int
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return ``(rows, width × bits / 8)`` uint8 and ``(rows, blocks)`` scales; the middle of the range stands for 0."""
    rows, width = table.shape
    blocks = -(-width // block_size)
    padded = np.pad(table, ((0, 0), (0, blocks * block_size - width))).reshape(rows, blocks, block_size)
    middle = 2 ** (bits - 1)
    scales = np.maximum(np.abs(padded).max(2), np.finfo(np.float32).tiny) / (middle - 1)
    numbers = (np.rint(padded / scales[..., None]) + middle).astype(np.uint8).reshape(rows, -1)[:, :width]
    if bits == 4:
        numbers = np.frombuffer(pack_nibbles(numbers), np.uint8).reshape(rows, -1)
    return numbers, scales.astype(np.float32)
