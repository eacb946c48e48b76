"""Scores of untrained networks, from one batch, that may tell how good the trained ones would be.

Each is on a scale that keeps its order and tames its range. NaN stands for a score that isn't finite.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from nas.checks import check_integers, check_kind, check_numbers, failing_as
from nas.errors import StudyError
from nas.inputs import Inputs, InputSpec, as_tuple, call_network, map_inputs
from nas.task import Task

COUNTED = ("parameters", "macs")
"""Scores that are counted exactly, without a network."""
_JITTER = 1e-5
"""Added to eigenvalues of :func:`jacov`, as in the authors' code."""
_NORMALISATIONS = {F.batch_norm, F.layer_norm, F.group_norm, F.instance_norm, F.rms_norm}
_aten = torch.ops.aten
_ACTIVATIONS = {
    *(_aten.relu, _aten.relu_, _aten.hardtanh, _aten.hardtanh_, _aten.leaky_relu, _aten.leaky_relu_),
    *(_aten.elu, _aten.elu_, _aten.gelu, _aten.silu, _aten.silu_, _aten.mish, _aten.mish_),
    *(_aten.hardswish, _aten.hardswish_),
}
"""Those that let the positive pass and hold the negative back, near enough to ReLU for codes of zeros and ones."""


@final
@dataclass(frozen=True)
class ScoredOn:
    """What networks are scored on: a batch of training items.

    Args:
        inputs: As the network takes them, on its device.
        targets: Targets of the same items.
        task: Task that gives the loss.
    """

    inputs: Inputs
    targets: Tensor
    task: Task


def synflow(module: nn.Module, on: ScoredOn) -> float:
    """Return the logarithm of the synaptic flow (Tanaka 2020, equation 2), summed over weights (Abdelfattah 2021).

    With all parameters made positive and an input of ones, that is the sum of each weight times the gradient, by
    it, of the sum of outputs. Computed in double precision. Normalisation, which would undo the flow, is passed over.
    Ids can't be ones: the first item's stand for them.
    """
    positive = copy.deepcopy(module).double().eval()
    with torch.no_grad():
        for parameter in positive.parameters():
            parameter.abs_()
    inputs = map_inputs(_one_of_ones, on.inputs)
    weights = _weights(positive)
    with _WithoutNormalisation():
        flow = call_network(positive, inputs).sum()
    gradients = torch.autograd.grad(flow, weights, allow_unused=True)
    parts = [(w.detach() * g).sum() for w, g in zip(weights, gradients, strict=True) if g is not None]
    return _logarithm(sum(float(part) for part in parts))


def _one_of_ones(tensor: Tensor) -> Tensor:
    one = tensor[:1]
    return torch.ones_like(one, dtype=torch.float64) if one.is_floating_point() else one


def naswot(module: nn.Module, on: ScoredOn) -> float:
    """Return the log-determinant of how alike the items' activation codes are (Mellor 2021, equations 1 and 2).

    A unit's code is 1 where its input is positive: of ReLU as in the paper, and of its smooth relatives. An entry of
    the kernel is the number of units in which two items agree. It isn't finite where two items have the same codes.
    """
    codes = _Agreement(len(on.targets))
    # With gradients, because without them torch fuses whole layers of attention, and no activation would be seen.
    with torch.enable_grad(), codes:
        call_network(_normalise_by_batch(module), on.inputs)
    return float(torch.linalg.slogdet(codes.kernel)[1])


def jacov(module: nn.Module, on: ScoredOn) -> float:
    """Return how uncorrelated the items' gradients by the input are (Mellor 2020, equation 3).

    That is -sum(log(v + k) + 1 / (v + k)) over the eigenvalues v of the gradients' correlation matrix. It is at most
    minus their number, and returned as minus the logarithm of its negative. Ids have no gradient.
    """
    inputs = map_inputs(lambda t: t.detach().requires_grad_(t.is_floating_point()), on.inputs)
    floats = [tensor for tensor in as_tuple(inputs) if tensor.requires_grad]
    output = call_network(_normalise_by_batch(module), inputs).sum()
    gradients = torch.autograd.grad(output, floats, materialize_grads=True)
    rows = torch.cat([gradient.flatten(1) for gradient in gradients], dim=1).double()
    correlations = torch.corrcoef(rows)
    if not correlations.isfinite().all():
        return math.nan
    values = torch.linalg.eigvalsh(correlations).clamp(min=0) + _JITTER
    return -_logarithm(float((values.log() + 1 / values).sum()))


def grad_norm(module: nn.Module, on: ScoredOn) -> float:
    """Return the logarithm of the sum, over weight tensors, of the norm of the loss's gradient (Abdelfattah 2021)."""
    weights = _weights(module)
    loss = on.task.loss(call_network(_normalise_by_batch(module), on.inputs), on.targets)
    gradients = torch.autograd.grad(loss, weights, allow_unused=True)
    return _logarithm(sum(float(gradient.norm()) for gradient in gradients if gradient is not None))


SCORES: Mapping[str, Callable[[nn.Module, ScoredOn], float]] = {
    "synflow": synflow,
    "naswot": naswot,
    "jacov": jacov,
    "grad_norm": grad_norm,
}
"""Scores by name: each takes an untrained module, whose statistics it may change."""


def applicable(names: Sequence[str], inputs: InputSpec) -> tuple[str, ...]:
    """Return the scores that networks with such inputs can have: all but those by gradients of ids."""
    return tuple(name for name in names if name != "jacov" or not inputs.is_ids)


def score_untrained(name: str, module: nn.Module, on: ScoredOn, seed: int) -> float:
    """Return a score of an untrained module; NaN where it isn't finite.

    Args:
        name: One of :data:`SCORES`.
        module: Plain; its weights stay as they are.
        on: A batch.
        seed: Seed of what the network itself draws.

    Raises:
        StudyError: the score can't be computed of this network.
    """
    part, advice = f"the zero-cost score {name!r} of the network", "leave it out of ZeroCost(scores=...)"
    with failing_as(StudyError, f"{part} can't be computed", advice), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        value = SCORES[name](module, on)
    return value if math.isfinite(value) else math.nan


def _weights(module: nn.Module) -> list[nn.Parameter]:
    """Return what is multiplied with activations: not biases, nor the scales of normalisation."""
    return [p for p in module.parameters() if p.ndim > 1 and p.requires_grad]


def _normalise_by_batch(module: nn.Module) -> nn.Module:
    """Return the module with batch norm by the batch, whose running statistics are not learned yet, and no dropout."""
    module.eval()
    for layer in module.modules():
        if isinstance(layer, _BatchNorm):
            layer.train()
    return module


def _logarithm(value: float) -> float:
    return math.log(value) if value > 0 else math.nan


@final
class _WithoutNormalisation(TorchFunctionMode):
    """Within, normalisation returns what it is given."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func in _NORMALISATIONS:
            return args[0]
        return func(*args, **(kwargs or {}))


@final
class _Agreement(TorchDispatchMode):
    """Within, counts for each pair of items the units on whose sign they agree."""

    def __init__(self, num_items: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kernel = torch.zeros(num_items, num_items, dtype=torch.float64)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func.overloadpacket in _ACTIVATIONS:
            codes = (args[0].detach() > 0).reshape(len(self.kernel), -1).float()
            self.kernel += (codes @ codes.T + (1 - codes) @ (1 - codes).T).cpu()
        return func(*args, **(kwargs or {}))


@final
@dataclass(frozen=True)
class ZeroCost:
    """Cheap scores of untrained networks, which a search may learn from before anything is trained.

    They are computed for random architectures before the search, so many that they take a small part of what the
    search's trainings take, counted in items that pass through networks, so that the number is the same everywhere.

    Args:
        scores: Names in :data:`SCORES` and :data:`COUNTED`. More of them were not better than naswot alone
            (docs/training.md).
        share: What they may take, as a part of the search's trainings.
        at_least: Architectures, whatever that takes: from fewer nothing can be learned.
        at_most: Architectures.
        items: Items of the training split, in the batch.

    Raises:
        StudyError: a score isn't known, or a number is out of range.
    """

    scores: tuple[str, ...] = ("naswot",)
    share: float = 0.05
    at_least: int = 50
    at_most: int = 400
    items: int = 64

    def __post_init__(self) -> None:
        check_kind("ZeroCost", "scores", self.scores, tuple, "a tuple such as ('synflow', 'naswot')")
        check_numbers(self, "share")
        check_integers(self, "at_least", "at_most", "items")
        known = (*SCORES, *COUNTED)
        if not self.scores or not set(self.scores) <= set(known) or len(set(self.scores)) < len(self.scores):
            raise StudyError(f"ZeroCost has scores={self.scores!r}: some of {known} are expected, each once.")
        if not (0 < self.share <= 1 and 2 <= self.at_least <= self.at_most and self.items >= 2):
            raise StudyError(
                f"ZeroCost has share={self.share}, at_least={self.at_least}, at_most={self.at_most} and "
                f"items={self.items}: a share in (0, 1], 2 <= at_least <= at_most and 2 items or more are expected."
            )
