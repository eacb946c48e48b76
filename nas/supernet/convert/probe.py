"""Trying proposals out: whatever doesn't compute what it should stays fixed, with the reason."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from nas.choices import Choice, Option
from nas.errors import one_line
from nas.supernet.convert.example import Example
from nas.supernet.convert.proposals import Depth, Heads, Proposal, Width, build
from nas.supernet.sites import Site, find_sites, plain_copy


@final
class Probe:
    """A twin with other weights, in double precision where it can, on which proposals are tried.

    The structure is what is tried, and special weights could hide a fault in it: a last layer that starts
    at zero makes all networks equal. So the twin's are disturbed.

    Args:
        model: In evaluation mode; copied.
        inputs: Of its ``forward``.
    """

    def __init__(self, model: nn.Module, inputs: Example) -> None:
        self._generator = torch.Generator().manual_seed(0)
        inputs = inputs.mapped(self._varied)
        self._model, self._inputs, self._tolerance = (
            copy.deepcopy(model).double(),
            inputs.mapped(_doubled),
            1e-8,
        )
        try:
            self._run(self._model)
        except Exception:  # a forward that makes single precision itself can't take double
            self._model, self._inputs, self._tolerance = copy.deepcopy(model), inputs, rounding(model)
        self._disturb()
        self._expected = self._run(self._model)
        self._trainable = self._trains(self._model) is None

    def _varied(self, value: Tensor) -> Tensor:
        """Return noise in place of a constant image, in which many faults would not show."""
        if not value.is_floating_point() or value.numel() < 2:
            return value
        if value.min() < value.max():
            return value
        return value + torch.randn(value.shape, generator=self._generator).to(value)

    def settle(self, proposals: Sequence[Proposal]) -> tuple[list[Proposal], list[tuple[Proposal, str]]]:
        """Return proposals that hold together, and the others with the reasons."""
        reason = self.fault(proposals)
        if reason is None:
            return list(proposals), []
        if len(proposals) == 1:
            return [], [(proposals[0], reason)]
        middle = len(proposals) // 2
        first, rejected = self.settle(proposals[:middle])
        second, others = self.settle(proposals[middle:])
        rejected += others
        accepted = [*first, *second]
        if first and second and self.fault(accepted) is not None:
            accepted = []
            for proposal in [*first, *second]:
                reason = self.fault([*accepted, proposal])
                if reason is None:
                    accepted.append(proposal)
                else:
                    rejected.append((proposal, f"together with others, {reason}"))
        return accepted, rejected

    def fault(self, proposals: Sequence[Proposal]) -> str | None:
        """Return what is wrong with a network in which the proposals are elastic, or None.

        Channels are put in a random order, the largest architecture must compute what it did before, the
        smallest, two random ones, and those in which sizes differ must run, in training too, and equal what
        is extracted of them.
        """
        if not proposals:
            return None
        orders = self._shuffle(proposals)
        reason: str | None
        try:
            elastic = build(self._model, proposals)
            reason = self._compare(elastic, proposals)
        except Exception as error:  # whatever a user's forward raises where channels are missing
            reason = f"a smaller one doesn't run: {one_line(error)}"
        if reason is not None:
            for proposal, order in orders:
                proposal.order(self._model, order.argsort())
        return reason

    def _shuffle(self, proposals: Sequence[Proposal]) -> list[tuple[Width | Heads, Tensor]]:
        orders = []
        for proposal in proposals:
            if not isinstance(proposal, Depth):
                order = torch.randperm(proposal.size, generator=self._generator)
                proposal.order(self._model, order)
                orders.append((proposal, order))
        return orders[::-1]

    def _compare(self, elastic: nn.Module, proposals: Sequence[Proposal]) -> str | None:
        sites = find_sites(elastic)
        choices = [proposal.choice for proposal in proposals]
        largest, smallest = _largest(choices), _smallest(choices)
        rng = np.random.default_rng(0)
        between = [{c.name: c.options[rng.integers(len(c.options))] for c in choices} for _ in range(2)]
        sizes = [proposal.choice for proposal in proposals if not isinstance(proposal, Depth)]
        # Depths stay the largest there: a block that is left out would hide its widths.
        for options in (smallest, *between, *(largest | _smallest(part) for part in _parts(sizes))):
            activate(sites, options)
            active = self._run(elastic)
            if [x.shape for x in active] != [x.shape for x in self._expected]:
                return "a smaller one changes the shape of the network's output"
            alone = self._run(plain_copy(elastic, sites))
            if difference(active, alone) > self._tolerance:
                return "a smaller one, extracted, doesn't compute what it does in the network"
        activate(sites, largest | _smallest(sizes))
        if self._trainable and (stop := self._trains(elastic)) is not None:
            return f"the network can't be trained with it: {stop}"
        activate(sites, largest)
        if difference(self._run(elastic), self._expected) > self._tolerance:
            return "the network's output depends on their order"
        return None

    @torch.no_grad()
    def _run(self, module: nn.Module) -> list[Tensor]:
        return tensors(self._inputs.run(module))

    @torch.no_grad()
    def _trains(self, module: nn.Module) -> str | None:
        """Return what a forward pass in training mode raises, or None; state and mode are put back."""
        modes = {m: m.training for m in module.modules()}
        state = {name: buffer.clone() for name, buffer in module.named_buffers()}
        two = self._inputs.mapped(lambda x: torch.cat([x, x]) if x.ndim else x)
        try:
            with torch.random.fork_rng(devices=[]):
                two.run(module.train())
            return None
        except Exception as error:  # whatever a user's forward raises
            return one_line(error)
        finally:
            for name, buffer in module.named_buffers():
                buffer.copy_(state[name])
            for m, training in modes.items():
                m.training = training

    @torch.no_grad()
    def _disturb(self) -> None:
        for tensor in [*self._model.parameters(), *_statistics(self._model)]:
            if tensor.is_floating_point() and tensor.numel():
                scale = 0.1 * tensor.double().square().mean().sqrt().clamp_min(0.02)
                noise = torch.randn(tensor.shape, generator=self._generator)
                # Away from zero, so that a variance stays positive.
                tensor.add_((noise.abs() if tensor.ndim == 1 else noise).to(tensor) * scale.to(tensor))


def _largest(choices: Iterable[Choice]) -> dict[str, Option]:
    return {choice.name: choice.options[choice.largest_index] for choice in choices}


def _smallest(choices: Iterable[Choice]) -> dict[str, Option]:
    return {choice.name: choice.options[choice.smallest_index] for choice in choices}


def _parts(choices: Sequence[Choice]) -> Iterator[list[Choice]]:
    """Yield few parts of which, for any two choices, one holds the first alone and one the second alone."""
    for bit in range((len(choices) - 1).bit_length() if choices else 0):
        for value in (0, 1):
            yield [choice for number, choice in enumerate(choices) if number >> bit & 1 == value]


def _statistics(model: nn.Module) -> Iterator[Tensor]:
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is not None:
            yield module.running_mean
            assert module.running_var is not None
            yield module.running_var


def _doubled(value: Tensor) -> Tensor:
    return value.double() if value.is_floating_point() else value


def tensors(output: Any) -> list[Tensor]:
    """Return the tensors of a network's output, which may be a list or a dictionary of them."""
    return [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]


def rounding(model: nn.Module) -> float:
    """Return how far the order of sums can move the output, relative to its largest value, by the weights' precision.

    Double weights count as single ones, because a forward may cast; on other devices than a CPU TF32 is likely.
    """
    tensors = [torch.empty(0), *(p for p in model.parameters() if p.is_floating_point())]
    limit = min(0.1, 100 * max(torch.finfo(tensor.dtype).eps for tensor in tensors))
    return limit if all(tensor.device.type == "cpu" for tensor in tensors) else max(limit, 1e-3)


def difference(ones: list[Tensor], others: list[Tensor]) -> float:
    """Return the largest absolute difference, relative to the largest value; infinite for NaN."""
    worst = 0.0
    for one, other in zip(ones, others, strict=True):
        if one.shape != other.shape:
            return float("inf")
        if not one.numel():
            continue
        scale = other.double().abs().max().clamp_min(1e-30)
        found = ((one.double() - other.double()).abs().max() / scale).item()
        worst = max(worst, found if found == found else float("inf"))
    return worst


def activate(sites: list[Site], options: dict[str, Option]) -> None:
    """Set every size to its value under ``options``."""
    for site in sites:
        for slot in site.slots:
            slot.module.__dict__[slot.attribute] = slot.expression.value(options)
