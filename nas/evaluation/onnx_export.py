"""Export to ONNX: the same exporter in the search and for winners, so that what is measured is shipped."""

from __future__ import annotations

import copy
import io
import logging
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from nas.errors import ExportError, first_line
from nas.evaluation.onnx_rewrites import exportable
from nas.inputs import Form, Inputs, InputSpec, as_spec, as_tuple, call_network, map_inputs

logger = logging.getLogger(__name__)

OUTPUT = "outputs"
_OPSET = 18
"""The lowest that both of torch's exporters write, so that a model never depends on which one made it."""
_CHECKED_BATCHES = (1, 3)
"""A size that was fixed by mistake shows with one of them, whether it is the usual 1 or another."""
_TOLERANCE = 1e-4
"""As a share of the largest output: what another order of sums in single precision can explain."""


def export_onnx(module: nn.Module, form: Form) -> bytes:
    """Return ``module`` as a serialised ONNX model with a dynamic batch dimension, of one opset.

    torch has two exporters. The TorchScript one takes tens of milliseconds, the ``dynamo`` one seconds,
    which a search that measures hundreds of candidates can't pay; after ONNX Runtime's optimisation both
    give the same operators (``benchmarks/export.py``). So TorchScript's comes first, and where it fails,
    or a later torch no longer has it, ``dynamo``'s.

    Args:
        module: A plain module; not changed.
        form: What it takes; the model's inputs have its names, the output is called ``outputs``.

    Raises:
        ExportError: neither exporter can convert the module.
    """
    plain = copy.deepcopy(module).to(device="cpu", memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
    spec = as_spec(form)
    try:
        return _torchscript(plain, spec)
    except Exception as error:  # the exporters raise what they like
        cause = _first_cause(error)
        logger.warning(
            "the fast ONNX exporter can't take this network (%s); the slow one takes seconds", cause
        )
    try:
        return _dynamo(plain, spec)
    except Exception as error:
        raise ExportError(
            f"the network can't be exported to ONNX: {cause}; the other exporter says {_first_cause(error)!r}. Write "
            "that operation in its forward with standard torch functions."
        ) from error


def _torchscript(module: nn.Module, spec: InputSpec) -> bytes:
    buffer = io.BytesIO()
    doubts: list[str] = []
    with warnings.catch_warnings(), torch.no_grad(), exportable(_OPSET):
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", torch.jit.TracerWarning)  # type: ignore[attr-defined]
        warnings.showwarning = lambda *_, **__: doubts.append(_place_in_forward())
        torch.onnx.export(
            module,
            as_tuple(spec.blank(2)),
            buffer,  # type: ignore[arg-type] # the annotation forgets what the documentation allows
            dynamo=False,
            opset_version=_OPSET,
            input_names=list(spec.names),
            output_names=[OUTPUT],
            dynamic_axes={name: {0: "batch"} for name in (*spec.names, OUTPUT)},
        )
    model = buffer.getvalue()
    if doubts:
        _check_values_unread(module, spec, doubts[0])
        _check_answers(module, spec, model, f"its forward depends on how many inputs there are, {doubts[0]}")
    return model


def _place_in_forward() -> str:
    """Return the innermost line that runs now and is neither torch's nor ours, where a warning is shown."""
    own = (str(Path(torch.__file__).parent), str(Path(__file__).parent), warnings.__file__)
    frames = [f for f in traceback.extract_stack() if not f.filename.startswith(own)]
    return f"{Path(frames[-1].filename).name}, line {frames[-1].lineno}"


def _check_values_unread(module: nn.Module, spec: InputSpec, where: str) -> None:
    """Make sure that tracing froze nothing that depends on the values of an input.

    Most warnings of the tracer are of sizes, which are the same for all images of one data set. A forward that
    runs on tensors without values reads none.

    Raises:
        ExportError: it reads values.
    """
    try:
        with torch.no_grad(), exportable(_OPSET), FakeTensorMode(allow_non_fake_inputs=True) as mode:
            call_network(module, map_inputs(mode.from_tensor, spec.blank(2)))
    except Exception as error:  # whatever a user's forward raises
        raise ExportError(f"its forward reads the values of its input, {where}") from error


def _check_answers(module: nn.Module, spec: InputSpec, model: bytes, reason: str) -> None:
    """Make sure that the exported network computes what the module does, for other numbers of inputs too.

    Raises:
        ExportError: with ``reason``.
    """
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    for count in _CHECKED_BATCHES:
        inputs = map_inputs(_fill, spec.blank(count))
        with torch.no_grad():
            expected = call_network(module, inputs).numpy()
        found = session.run([OUTPUT], feed_of(spec.names, inputs))[0]
        scale = max(1.0, float(np.abs(expected).max()))
        if found.shape != expected.shape or not np.allclose(found, expected, rtol=0, atol=_TOLERANCE * scale):
            raise ExportError(reason)


def _fill(inputs: Tensor) -> Tensor:
    """Return inputs with different values; ids stay as they are."""
    if not inputs.is_floating_point():
        return inputs
    return torch.linspace(-1, 1, inputs.numel(), dtype=inputs.dtype).view_as(inputs)


def feed_of(names: Sequence[str], inputs: Inputs) -> dict[str, np.ndarray]:
    """Return what ONNX Runtime takes: arrays by the names of a model's inputs."""
    return {name: tensor.numpy() for name, tensor in zip(names, as_tuple(inputs), strict=True)}


def _dynamo(module: nn.Module, spec: InputSpec) -> bytes:
    batch = torch.export.Dim("batch")
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module,
            as_tuple(spec.blank(2)),
            dynamo=True,
            verbose=False,
            opset_version=_OPSET,
            input_names=list(spec.names),
            output_names=[OUTPUT],
            dynamic_shapes=tuple({0: batch} for _ in spec.names),
        )
    if program is None:
        raise ExportError("torch.onnx.export returned nothing")
    content: bytes = program.model_proto.SerializeToString()
    _check_answers(module, spec, content, "the exported network computes something else than the module")
    return content


def _first_cause(error: Exception) -> str:
    """Return what went wrong at the bottom, in a line, without a terminal's colours."""
    while isinstance(error.__cause__, Exception) and not isinstance(error, ExportError):
        error = error.__cause__
    return first_line(error)
