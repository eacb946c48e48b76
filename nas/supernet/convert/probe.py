"""Trying proposals out: whatever doesn't compute what it should stays fixed, with the reason."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import final

import numpy as np
import torch
from torch import Tensor, nn

from nas.choices import Choice, Option
from nas.errors import one_line
from nas.supernet.convert.branches import Branch
from nas.supernet.convert.proposals import Depth, Ordered, Proposal, Resolution, build
from nas.supernet.convert.reference import Reference, difference, run_branch
from nas.supernet.sites import Site, find_sites, plain_copy

logger = logging.getLogger(__name__)

_SECONDS = 5.0
"""Between two lines of the log: nobody should wait longer without a word."""
_Check = Callable[[nn.Module, Sequence[Proposal]], str | None]


@final
class Probe:
    """A twin with other weights on which proposals are tried, on every branch.

    Args:
        model: In evaluation mode; copied.
        branches: Of its ``forward``, the example's first.
    """

    def __init__(self, model: nn.Module, branches: Sequence[Branch]) -> None:
        self._generator = torch.Generator().manual_seed(0)
        first, *others = branches
        varied = first.on(first.example.mapped(self._varied))
        self._reference = Reference(model, [varied, *others], disturbed=True)
        self._trained = [b for b in branches if b.training]
        self._said = time.monotonic()
        self._tried = 0
        self._total = 0

    def _varied(self, value: Tensor) -> Tensor:
        """Return noise in place of a constant image, in which many faults would not show."""
        if not value.is_floating_point() or value.numel() < 2 or value.min() < value.max():
            return value
        return value + torch.randn(value.shape, generator=self._generator).to(value)

    def settle(self, proposals: Sequence[Proposal]) -> tuple[list[Proposal], list[tuple[Proposal, str]]]:
        """Return proposals that hold together, and the others with the reasons.

        Most faults show in two networks on the example's branch, so these are tried first, many times; the other
        branches, and then all other networks, only with what is left.
        """
        # Layers that are alike fail alike: halving is quick where they stand side by side.
        alike = sorted(proposals, key=lambda p: "".join(c for c in p.choice.name if not c.isdigit()))
        held, rejected = alike, list[tuple[Proposal, str]]()
        for check in (self._quick, self._coarse, self._fine):
            held, more = self._sift(held, check)
            rejected += more
        return [proposal for proposal in proposals if proposal in held], rejected

    def _sift(
        self, proposals: Sequence[Proposal], check: _Check
    ) -> tuple[list[Proposal], list[tuple[Proposal, str]]]:
        self._tried, self._total = 0, len(proposals)
        return self._halve(list(proposals), check)

    def _halve(
        self, proposals: list[Proposal], check: _Check
    ) -> tuple[list[Proposal], list[tuple[Proposal, str]]]:
        reason = self.fault(proposals, check)
        if reason is None or len(proposals) == 1:
            self._tried += len(proposals)
            return ([], [(proposals[0], reason)]) if reason is not None else (proposals, [])
        middle = len(proposals) // 2
        first, rejected = self._halve(proposals[:middle], check)
        second, others = self._halve(proposals[middle:], check)
        held = [*first, *second]
        rejected += others
        while first and second and (reason := self.fault(held, check)) is not None:
            wrong = held.pop(self._first_wrong(held, check) - 1)
            rejected.append((wrong, f"together with others, {reason}"))
        return held, rejected

    def _first_wrong(self, proposals: list[Proposal], check: _Check) -> int:
        """Return how many of the proposals, which don't hold together, are the fewest that don't."""
        low, high = 1, len(proposals)
        while low < high:
            middle = (low + high) // 2
            if self.fault(proposals[:middle], check) is None:
                low = middle + 1
            else:
                high = middle
        return low

    def fault(self, proposals: Sequence[Proposal], check: _Check | None = None) -> str | None:
        """Return what is wrong with a network in which the proposals are elastic, or None.

        Channels are put in a random order. The largest architecture must compute what it did before, on every
        branch. The smallest, two random ones, and those in which sizes differ must run, in training too, and equal
        what is extracted of them.
        """
        if not proposals:
            return None
        self._tell()
        model = self._reference.model
        orders = self._shuffle(model, proposals)
        reason: str | None
        try:
            reason = (check or self._fine)(build(model, proposals), proposals)
        except Exception as error:  # whatever a user's forward raises where channels are missing
            reason = f"a smaller one doesn't run: {one_line(error)}"
        if reason is not None:
            for proposal, order in orders:
                proposal.order(model, order.argsort())
        return reason

    def _tell(self) -> None:
        if time.monotonic() - self._said > _SECONDS:
            self._said = time.monotonic()
            logger.info("converting: %d of %d possible choices tried", self._tried, self._total)

    def _shuffle(self, model: nn.Module, proposals: Sequence[Proposal]) -> list[tuple[Ordered, Tensor]]:
        orders: list[tuple[Ordered, Tensor]] = []
        for proposal in proposals:
            if isinstance(proposal, Ordered):
                order = torch.randperm(proposal.size, generator=self._generator)
                proposal.order(model, order)
                orders.append((proposal, order))
        return orders[::-1]

    def _quick(self, elastic: nn.Module, proposals: Sequence[Proposal]) -> str | None:
        return self._coarse(elastic, proposals, branches=1)

    def _coarse(
        self, elastic: nn.Module, proposals: Sequence[Proposal], branches: int | None = None
    ) -> str | None:
        """Try what shows most faults, on the first branches or on all."""
        sites = find_sites(elastic)
        sizes = [proposal.choice for proposal in proposals if not isinstance(proposal, Depth)]
        everything = [proposal.choice for proposal in proposals]
        activate(sites, _largest(everything) | (_smallest(sizes) if sizes else _smallest(everything)))
        if (reason := self._misfit(elastic, branches)) is not None:
            return reason
        activate(sites, _largest(everything))
        return self._disorder(elastic, branches)

    def _fine(self, elastic: nn.Module, proposals: Sequence[Proposal]) -> str | None:
        sites = find_sites(elastic)
        choices = [proposal.choice for proposal in proposals]
        largest, smallest = _largest(choices), _smallest(choices)
        rng = np.random.default_rng(0)
        between = [{c.name: c.options[rng.integers(len(c.options))] for c in choices} for _ in range(2)]
        sizes = [proposal.choice for proposal in proposals if not isinstance(proposal, Depth)]
        # Depths stay the largest there: a block that is left out would hide its widths.
        thin = largest | _smallest(sizes)
        for options in (smallest, thin, *between):
            activate(sites, options)
            if (reason := self._misfit(elastic, None if options is smallest else 1)) is not None:
                return reason
            if self._extraction_differs(elastic, sites):
                return "a smaller one, extracted, doesn't compute what it does in the network"
        parts = [_smallest(part) for part in _parts(sizes)]
        for part in [*parts, *_resolutions(proposals)]:
            activate(sites, largest | part)
            if (reason := self._misfit(elastic, 1)) is not None:
                return reason
        activate(sites, thin)
        if (stop := self._stops_training(elastic)) is not None:
            return f"the network can't be trained with it: {stop}"
        activate(sites, largest)
        return self._disorder(elastic)

    def _misfit(self, elastic: nn.Module, branches: int | None) -> str | None:
        """Return on which of so many branches a smaller network doesn't run, or makes other shapes, or None."""
        reference = self._reference
        for branch, expected in list(zip(reference.branches, reference.expected, strict=True))[:branches]:
            try:
                made = run_branch(elastic, branch)
            except Exception as error:  # whatever a user's forward raises where channels are missing
                return f"a smaller one doesn't run{branch.where}: {one_line(error)}"
            if [x.shape for x in made] != [x.shape for x in expected]:
                return f"a smaller one changes the shape of the network's output{branch.where}"
        return None

    def _disorder(self, elastic: nn.Module, branches: int | None = None) -> str | None:
        """Return on which of so many branches the whole network computes something else, or None."""
        where = self._reference.departs(elastic, branches)
        return None if where is None else f"the network's output depends on their order{where[1]}"

    def _extraction_differs(self, elastic: nn.Module, sites: list[Site]) -> bool:
        first = self._reference.branches[0]
        alone = run_branch(plain_copy(elastic, sites), first)
        return difference(run_branch(elastic, first), alone) > self._reference.tolerances[0]

    def _stops_training(self, elastic: nn.Module) -> str | None:
        """Return what a forward pass in training mode raises where the whole network raises nothing, or None."""
        for branch in self._trained:
            try:
                run_branch(elastic, self._reference.in_precision(branch))
            except Exception as error:  # whatever a user's forward raises
                return one_line(error)
        return None


def _largest(choices: Iterable[Choice]) -> dict[str, Option]:
    return {choice.name: choice.options[choice.largest_index] for choice in choices}


def _smallest(choices: Iterable[Choice]) -> dict[str, Option]:
    return {choice.name: choice.options[choice.smallest_index] for choice in choices}


def _resolutions(proposals: Iterable[Proposal]) -> list[dict[str, Option]]:
    """Return each resolution by itself: a network that runs at one may not run at a larger one."""
    choices = [proposal.choice for proposal in proposals if isinstance(proposal, Resolution)]
    return [{choice.name: option} for choice in choices for option in choice.options]


def _parts(choices: Sequence[Choice]) -> Iterator[list[Choice]]:
    """Yield few parts of which, for any two choices, one holds the first alone and one the second alone."""
    for bit in range((len(choices) - 1).bit_length() if choices else 0):
        for value in (0, 1):
            yield [choice for number, choice in enumerate(choices) if number >> bit & 1 == value]


def activate(sites: list[Site], options: dict[str, Option]) -> None:
    """Set every size to its value under ``options``."""
    for site in sites:
        for slot in site.slots:
            slot.module.__dict__[slot.attribute] = slot.expression.value(options)
