"""What torch's TorchScript exporter lacks, in terms of what it has and of ONNX's own operators."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.onnx import symbolic_helper
from torch.overrides import TorchFunctionMode

from nas.errors import ExportError

# What torch computes with antialias=True: Keys' cubic with another constant than without (aten UpSampleKernel.cpp).
_CUBIC_COEFFICIENT = -0.5
_ANTIALIASED = {"aten::_upsample_bilinear2d_aa": "linear", "aten::_upsample_bicubic2d_aa": "cubic"}


@contextlib.contextmanager
def exportable(opset: int) -> Iterator[None]:
    """While it is active, the TorchScript exporter can do more.

    Pooling to a size that doesn't divide the input's, and RMSNorm, run as equal functions that it knows; antialiased
    resizing becomes ONNX's Resize; attention isn't fused; the graph isn't printed where it fails.
    """
    print_graph = torch._C._jit_onnx_log
    torch._C._jit_onnx_log = lambda *_: None  # no setting of torch's keeps it quiet (setup_onnx_logging)
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    for name, mode in _ANTIALIASED.items():
        torch.onnx.register_custom_op_symbolic(name, _make_antialiased(mode), opset)  # type: ignore[attr-defined]
    try:
        with _Rewritten():
            yield
    finally:
        torch._C._jit_onnx_log = print_graph
        torch.backends.mha.set_fastpath_enabled(fused)
        for name in _ANTIALIASED:
            torch.onnx.unregister_custom_op_symbolic(name, opset)  # type: ignore[attr-defined]


@final
class _Rewritten(TorchFunctionMode):
    """Some functions of torch run as equal ones."""

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call the equal function where there is one."""
        named = dict(kwargs or {})
        equal = _EQUAL.get(func)
        made = None if equal is None else equal(*args, **named)
        return func(*args, **named) if made is None else made


def _rms_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    axes = tuple(range(-len(normalized_shape), 0))
    small = torch.finfo(input.dtype).eps if eps is None else eps
    normed = input * torch.rsqrt(input.square().mean(axes, keepdim=True) + small)
    return normed if weight is None else normed * weight


def _adaptive_average(input: Tensor, output_size: Any) -> Tensor | None:
    return _pool_slices(input, output_size, lambda piece, axis: piece.mean(axis))


def _adaptive_maximum(input: Tensor, output_size: Any, return_indices: bool = False) -> Tensor | None:
    return None if return_indices else _pool_slices(input, output_size, lambda piece, axis: piece.amax(axis))


def _pool_slices(input: Tensor, output_size: Any, pool: Callable[[Tensor, int], Tensor]) -> Tensor | None:
    """Pool slices of unequal length, one axis after the other; None where the exporter can do it."""
    sizes = output_size if isinstance(output_size, Sequence) else (output_size, output_size)
    if all(size == 1 for size in sizes):
        return None  # before a size is read: the tracer warns of that, and a doubt about an export is dear to check
    known = [int(size) for size in input.shape[-2:]]
    wanted = [size if want is None else int(want) for size, want in zip(known, sizes, strict=True)]
    if all(size % want == 0 for size, want in zip(known, wanted, strict=True)):
        return None
    for axis, size, want in zip((-2, -1), known, wanted, strict=True):
        bounds = [(number * size // want, -(-(number + 1) * size // want)) for number in range(want)]
        input = torch.stack([pool(input.narrow(axis, a, b - a), axis) for a, b in bounds], axis)
    return input


_EQUAL: dict[Any, Callable[..., Tensor | None]] = {
    F.rms_norm: _rms_norm,
    torch.rms_norm: _rms_norm,
    F.adaptive_avg_pool2d: _adaptive_average,
    F.adaptive_max_pool2d: _adaptive_maximum,
}


def _make_antialiased(mode: str) -> Callable[..., Any]:
    """Return how the exporter writes antialiased resizing of images."""

    def resize(g: Any, input: Any, output_size: Any, align_corners: Any, scale_factors: Any) -> Any:
        if symbolic_helper._get_const(align_corners, "b", "align_corners"):
            raise ExportError(
                "antialiased resizing with align_corners, which ONNX Runtime computes otherwise"
            )
        empty = g.op("Constant", value_t=torch.tensor([], dtype=torch.float32))
        if symbolic_helper._is_none(output_size):
            factors = symbolic_helper._get_const(scale_factors, "fs", "scale_factors")
            scales = g.op("Constant", value_t=torch.tensor([1.0, 1.0, *factors]))
            target = [empty, scales]
        else:
            sides = symbolic_helper._get_const(output_size, "is", "output_size")
            # Not the attribute axes: ONNX Runtime's inference of shapes, before quantization, doesn't know it.
            batch = symbolic_helper._slice_helper(g, g.op("Shape", input), axes=[0], starts=[0], ends=[2])
            sizes = g.op("Concat", batch, g.op("Constant", value_t=torch.tensor(sides)), axis_i=0)
            target = [empty, empty, sizes]
        made = g.op(
            "Resize",
            input,
            *target,
            antialias_i=1,
            coordinate_transformation_mode_s="half_pixel",
            cubic_coeff_a_f=_CUBIC_COEFFICIENT,
            exclude_outside_i=1,  # weights are of the pixels that exist, as in torch
            mode_s=mode,
        )
        known = symbolic_helper._get_tensor_sizes(input)
        if known is not None and not symbolic_helper._is_none(output_size):
            made.setType(input.type().with_sizes([*known[:2], *sides]))  # what follows may need to know
        return made

    return resize
