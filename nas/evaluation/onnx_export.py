"""Export to ONNX: the same exporter in the search and for winners, so that what is measured is shipped."""

from __future__ import annotations

import copy
import io
import logging
import re
import traceback
import warnings
from pathlib import Path

import numpy as np
import onnxruntime as ort
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from nas.data.inputs import blank
from nas.errors import ExportError
from nas.evaluation.onnx_rewrites import exportable

logger = logging.getLogger(__name__)

INPUT, OUTPUT = "images", "logits"
_OPSET = 18  # the lowest that both exporters write, so that it never depends on which one did
_CHECKED_BATCHES = (1, 3)
_TOLERANCE = 1e-4  # of the largest output: what the order of sums in single precision can explain
_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


def export_onnx(module: nn.Module, image_shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> bytes:
    """Return ``module`` as a serialised ONNX model with a dynamic batch dimension, of one opset.

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
        cause = _first_line(error)
        logger.warning(
            "the fast ONNX exporter can't take this network (%s); the slow one takes seconds", cause
        )
    try:
        return _dynamo(plain, example)
    except Exception as error:
        raise ExportError(
            f"the network can't be exported to ONNX: {cause}; the other exporter says {_first_line(error)!r}. Write "
            "that operation in its forward with standard torch functions."
        ) from error


def _torchscript(module: nn.Module, example: Tensor) -> bytes:
    buffer = io.BytesIO()
    doubts: list[str] = []
    with warnings.catch_warnings(), torch.no_grad(), exportable(_OPSET):
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", torch.jit.TracerWarning)  # type: ignore[attr-defined]
        warnings.showwarning = lambda *_, **__: doubts.append(_place_in_forward())
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
    model = buffer.getvalue()
    if doubts:
        _check_values_unread(module, example, doubts[0])
        _check_answers(
            module, example, model, f"its forward depends on how many inputs there are, {doubts[0]}"
        )
    return model


def _place_in_forward() -> str:
    """Return the innermost line that runs now and is neither torch's nor ours, where a warning is shown."""
    own = (str(Path(torch.__file__).parent), str(Path(__file__).parent), warnings.__file__)
    frames = [f for f in traceback.extract_stack() if not f.filename.startswith(own)]
    return f"{Path(frames[-1].filename).name}, line {frames[-1].lineno}"


def _check_values_unread(module: nn.Module, example: Tensor, where: str) -> None:
    """Make sure that tracing froze nothing that depends on the values of an input.

    Most warnings of the tracer are of sizes, which are the same for all images of one data set. A forward that
    runs on tensors without values reads none.

    Raises:
        ExportError: it reads values.
    """
    try:
        with torch.no_grad(), exportable(_OPSET), FakeTensorMode(allow_non_fake_inputs=True) as mode:
            module(mode.from_tensor(example))
    except Exception as error:  # whatever a user's forward raises
        raise ExportError(f"its forward reads the values of its input, {where}") from error


def _check_answers(module: nn.Module, example: Tensor, model: bytes, reason: str) -> None:
    """Make sure that the exported network computes what the module does, for other numbers of inputs too.

    Raises:
        ExportError: with ``reason``.
    """
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    for count in _CHECKED_BATCHES:
        inputs = blank(count, tuple(example.shape[1:]), example.dtype)
        if inputs.is_floating_point():
            inputs += torch.linspace(-1, 1, inputs.numel(), dtype=inputs.dtype).view_as(inputs)
        with torch.no_grad():
            expected = module(inputs).numpy()
        found = session.run([OUTPUT], {INPUT: inputs.numpy()})[0]
        scale = max(1.0, float(np.abs(expected).max()))
        if found.shape != expected.shape or not np.allclose(found, expected, rtol=0, atol=_TOLERANCE * scale):
            raise ExportError(reason)


def _dynamo(module: nn.Module, example: Tensor) -> bytes:
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module,
            (example,),
            dynamo=True,
            verbose=False,
            opset_version=_OPSET,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
        )
    if program is None:
        raise ExportError("torch.onnx.export returned nothing")
    content: bytes = program.model_proto.SerializeToString()
    _check_answers(module, example, content, "the exported network computes something else than the module")
    return content


def _first_line(error: Exception) -> str:
    """Return the first line of what went wrong at the bottom, without a terminal's colours."""
    while isinstance(error.__cause__, Exception) and not isinstance(error, ExportError):
        error = error.__cause__
    return (_ESCAPES.sub("", str(error)).strip().splitlines() or [type(error).__name__])[0]
