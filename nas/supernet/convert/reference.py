"""The exact outputs of a network on its examples, and by how much rounding changes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from nas.supernet.convert.branches import Branch, training, without_chance
from nas.supernet.convert.example import Example, tensors
from nas.supernet.copying import copy_module

_MARGIN = 30
"""A sum of many terms is rounded more often than each of its terms, which is what the yardstick does."""

_SIGNS = 4099
"""Random ones, used again and again, because to draw one for every weight takes long; a prime, so that no two rows of a
weight get the same."""


@final
class Reference:
    """The outputs of a network on every branch, to compare others with.

    They are computed in double precision if the network can run in it. The tolerance of a comparison is measured: it is
    the change of the output when every weight and every input is changed by one rounding, in the coarsest precision
    that the network uses inside.

    Args:
        model: In evaluation mode; copied.
        branches: Branches that its ``forward`` takes; those that depend on chance are left out.
        disturbed: Whether to give the copy other weights, because special ones could hide a fault: a last layer
            that starts at zero makes all networks equal.
    """

    def __init__(self, model: nn.Module, branches: Sequence[Branch], *, disturbed: bool = False) -> None:
        self._given = [branch for branch in branches if not branch.by_chance]
        self._disturbed = disturbed
        try:
            self._run(model, double=True)
        except Exception:  # a forward that makes single precision itself can't take double
            self._run(model, double=False)
        self.tolerances = self._tolerances()

    def _run(self, model: nn.Module, *, double: bool) -> None:
        self._double = double
        self.model = self.prepare_module(model)
        if self._disturbed:
            _disturb(self.model)
        self.branches = [self.in_precision(branch) for branch in self._given]
        seen = _Coarsest()
        with seen:
            self.expected = [run_branch(self.model, branch) for branch in self.branches]
        self._eps = seen.eps

    def prepare_module(self, module: nn.Module) -> nn.Module:
        """Return a copy of ``module`` in the precision of the reference, without dropout."""
        twin = copy_module(module)
        without_chance(twin)
        return twin.double() if self._double else twin

    def in_precision(self, branch: Branch) -> Branch:
        """Return a branch with an example in the precision of the reference."""
        return branch.on(branch.example.to_double()) if self._double else branch

    def _tolerances(self) -> list[float]:
        noisy = _noisy(self.model, self._eps)
        moved = [
            run_branch(noisy, branch.on(_noisy_example(branch.example, self._eps)))
            for branch in self.branches
        ]
        floor = _floor(self.model, self._eps)
        pairs = zip(moved, self.expected, strict=True)
        # Where one rounding moves the output by more, such as behind an argmax, all networks would seem equal.
        return [min(0.1, max(floor, _MARGIN * difference(found, expected))) for found, expected in pairs]

    def departs(self, module: nn.Module, branches: int | None = None) -> tuple[float, str] | None:
        """Return how far ``module``, which must be prepared, is from the network, and on which branch, or None.

        Args:
            module: To compare.
            branches: How many of them to try; all by default.
        """
        known = zip(self.branches, self.expected, self.tolerances, strict=True)
        for branch, expected, tolerance in list(known)[:branches]:
            found = difference(run_branch(module, branch), expected)
            if found > tolerance:
                return found, branch.where
        return None


def _floor(model: nn.Module, eps: float) -> float:
    """Return the least tolerance; on other devices than a CPU TF32 is likely."""
    on_cpu = all(parameter.device.type == "cpu" for parameter in model.parameters())
    return max(1e-8, 100 * eps) if on_cpu else max(1e-3, 100 * eps)


class _Coarsest(TorchDispatchMode):
    """Keeps the coarsest precision of any result."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.eps: float = 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(made):
            if isinstance(leaf, Tensor) and leaf.is_floating_point():
                self.eps = max(self.eps, torch.finfo(leaf.dtype).eps)
        return made


@torch.no_grad()
def _disturb(model: nn.Module) -> None:
    generator = torch.Generator().manual_seed(0)
    for tensor in [*model.parameters(), *_statistics(model)]:
        if tensor.is_floating_point() and tensor.numel():
            scale = 0.1 * tensor.double().square().mean().sqrt().clamp_min(0.02)
            noise = torch.randn(tensor.shape, generator=generator)
            # Away from zero, so that a variance stays positive.
            tensor.add_((noise.abs() if tensor.ndim == 1 else noise).to(tensor) * scale.to(tensor))


def _statistics(model: nn.Module) -> Iterator[Tensor]:
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is not None:
            yield module.running_mean
            assert module.running_var is not None
            yield module.running_var


def _noisy(model: nn.Module, eps: float) -> nn.Module:
    """Return a copy whose weights are moved by one rounding each, up or down."""
    moved = copy_module(model)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for tensor in [*moved.parameters(), *moved.buffers()]:
            if tensor.is_floating_point():
                tensor.mul_(_roundings(tensor, eps, generator))
    return moved


def _noisy_example(example: Example, eps: float) -> Example:
    generator = torch.Generator().manual_seed(3)
    return example.map_tensors(lambda x: x * _roundings(x, eps, generator) if x.is_floating_point() else x)


def _roundings(tensor: Tensor, eps: float, generator: torch.Generator) -> Tensor:
    count = tensor.numel()
    signs = torch.randint(0, 2, (min(count, _SIGNS),), generator=generator) * 2 - 1
    factors = (1 + eps * signs.double()).to(tensor)
    return factors.repeat(-(-count // _SIGNS))[:count].view(tensor.shape)


@torch.no_grad()
def run_branch(model: nn.Module, branch: Branch) -> list[Tensor]:
    """Return the tensors of the output on a branch."""
    if not branch.training:
        return tensors(branch.example.run(model))
    with training(model):
        return tensors(branch.example.run(model))


def difference(ones: list[Tensor], others: list[Tensor]) -> float:
    """Return the largest absolute difference, relative to the largest value; infinite for NaN."""
    worst = 0.0
    if len(ones) != len(others):
        return float("inf")
    for one, other in zip(ones, others, strict=True):
        if one.shape != other.shape:
            return float("inf")
        if not one.numel():
            continue
        scale = other.double().abs().max().clamp_min(1e-30)
        found = ((one.double() - other.double()).abs().max() / scale).item()
        # NaN compares as False with everything, and would pass for no difference at all.
        worst = max(worst, found if found == found else float("inf"))
    return worst
