"""What passes on the file share: the file that they get, and the model that they give."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import onnx

from nas.checks import quote
from nas.choices import Choice, Option
from nas.compression.pipeline import Model
from nas.errors import ExportError, StudyError
from nas.evaluation.onnx_export import export_onnx
from nas.space import SearchSpace

FLOAT_BITS = 32
"""The largest option of bits, which changes nothing."""


def onnx_of(model: Model) -> bytes:
    """Return the serialised ONNX of a model, exported where no pass has worked on the file yet.

    Raises:
        ExportError: it has neither file nor module, or the module can't be exported.
    """
    if model.onnx is not None:
        return model.onnx
    if model.module is None:
        raise ExportError("a model has neither a module nor an ONNX file: give it one of them.")
    return export_onnx(model.module, model.inputs)


def with_file(model: Model, made: bytes, said: str) -> Model:
    """Return the model after a pass on the file: no module computes what the file does any more."""
    return replace(model, module=None, onnx=made, applied=(*model.applied, said))


class StoringPass:
    """What passes share that store the same numbers in fewer bytes: they leave nothing to be chosen."""

    works_on: ClassVar[Literal["file"]] = "file"
    trains: ClassVar[bool] = False

    def choices(self) -> SearchSpace:
        """Return no choices."""
        return SearchSpace(())


class RoundingPass:
    """What passes share that round the numbers of a file to fewer bits; its fields are those of the pass."""

    bits: int | tuple[int, ...]
    name: str

    works_on: ClassVar[Literal["file"]] = "file"
    trains: ClassVar[bool] = False

    def choices(self) -> SearchSpace:
        """Return the choice of bits, where there are several."""
        return SearchSpace(
            () if isinstance(self.bits, int) else (Choice(f"{self.name}.bits", tuple(self.bits)),)
        )

    def choose_bits(self, options: Mapping[str, Option]) -> int:
        """Return the bits that are chosen, or the only ones.

        Raises:
            SpaceError: the options are others than those of the choice.
        """
        chosen = self.choices().architecture(options)
        return self.bits if isinstance(self.bits, int) else int(chosen[f"{self.name}.bits"])


def check_bits(holder: str, bits: int | Sequence[int], allowed: Sequence[int]) -> None:
    """Refuse bits that a pass doesn't know, or that don't run from small to large.

    Raises:
        StudyError: they are something else.
    """
    options = [bits] if isinstance(bits, int) else bits
    is_listed = isinstance(options, tuple | list) and len(options) > 0
    if not is_listed or any(isinstance(b, bool) or b not in allowed for b in options):
        raise StudyError(
            f"{holder} has bits={_format_bits(bits)}: one of {tuple(allowed)} or several are expected."
        )
    if sorted(set(options)) != list(options) or (not isinstance(bits, int) and options[-1] != FLOAT_BITS):
        raise StudyError(
            f"{holder} has bits={_format_bits(bits)}: several are a choice, so name each once, from small to large, "
            f"and {FLOAT_BITS} last, which changes nothing."
        )


def _format_bits(bits: object) -> str:
    return str(bits) if isinstance(bits, tuple | list) else quote(bits)


def pack_nibbles(numbers: np.ndarray) -> bytes:
    """Return numbers from 0 to 15 as ONNX stores UINT4: two in a byte, the first in the lower half."""
    flat = numbers.astype(np.uint8).ravel()
    pairs = np.pad(flat, (0, flat.size % 2)).reshape(-1, 2)
    return (pairs[:, 0] | pairs[:, 1] << 4).tobytes()


@dataclass(frozen=True)
class Packed:
    """A weight in fewer bytes, and the operators that unpack it.

    Args:
        tensors: What is stored.
        nodes: They end with the weight's own name. ONNX Runtime runs them once, as it opens the file.
    """

    tensors: Sequence[Any]
    nodes: Sequence[Any]


def pack_weights(graph: Any, pack: Callable[[str, np.ndarray], Packed | None]) -> int:
    """Store the float32 numbers of a graph in fewer bytes, in place; return how many weights are.

    Args:
        graph: Graph of an ONNX model.
        pack: Given a tensor's name and values; None leaves it as it is.
    """
    found: list[Packed] = []
    for tensor in list(graph.initializer):
        if tensor.data_type != onnx.TensorProto.FLOAT:
            continue
        packed = pack(tensor.name, onnx.numpy_helper.to_array(tensor))
        if packed is not None:
            graph.initializer.remove(tensor)
            graph.initializer.extend(packed.tensors)
            found.append(packed)
    nodes = [*(node for packed in found for node in packed.nodes), *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    return len(found)
