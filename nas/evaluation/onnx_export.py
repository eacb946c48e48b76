"""Export to ONNX: the same exporter in the search and for winners, so that what is measured is shipped."""

from __future__ import annotations

import copy
import io
import logging
import warnings

import torch
from torch import Tensor, nn

from nas.data.inputs import blank
from nas.errors import ExportError

logger = logging.getLogger(__name__)

INPUT, OUTPUT = "images", "logits"
_OPSET = 17


def export_onnx(module: nn.Module, image_shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> bytes:
    """Return ``module`` as a serialised ONNX model with a dynamic batch dimension.

    torch has two exporters. The TorchScript one takes tens of milliseconds, the ``dynamo`` one seconds,
    which a search that measures hundreds of candidates can't pay; after ONNX Runtime's optimisation both
    give the same operators (``benchmarks/export.py``). So TorchScript's comes first, and where it fails,
    or a later torch no longer has it, ``dynamo``'s.

    Args:
        module: A plain module; not changed.
        image_shape: Channels, height and width, or the shape of another input.
        dtype: Of the input.

    Raises:
        ExportError: neither exporter can convert the module.
    """
    plain = copy.deepcopy(module).to(device="cpu", memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
    example = blank(2, image_shape, dtype)
    try:
        return _torchscript(plain, example)
    except Exception as error:  # the exporters raise what they like
        logger.warning("the fast ONNX exporter failed (%s); using the slow one", _first_line(error))
    try:
        return _dynamo(plain, example)
    except Exception as error:
        raise ExportError(
            f"the network can't be exported to ONNX: {_first_line(error)}. Write the operation in its forward "
            "with standard torch functions."
        ) from error


def _torchscript(module: nn.Module, example: Tensor) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        # A forward that branches on values is traced along one branch only: that must not pass in silence.
        warnings.simplefilter("error", torch.jit.TracerWarning)  # type: ignore[attr-defined]
        torch.onnx.export(
            module,
            (example,),
            buffer,  # type: ignore[arg-type] # the annotation forgets what the documentation allows
            dynamo=False,
            opset_version=_OPSET,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_axes={INPUT: {0: "batch"}, OUTPUT: {0: "batch"}},
        )
    return buffer.getvalue()


def _dynamo(module: nn.Module, example: Tensor) -> bytes:
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module,
            (example,),
            dynamo=True,
            verbose=False,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
        )
    if program is None:
        raise ExportError("torch.onnx.export returned nothing")
    content: bytes = program.model_proto.SerializeToString()
    return content


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
