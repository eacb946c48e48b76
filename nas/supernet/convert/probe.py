"""Tries proposals out. Those with which the network doesn't compute what it should are rejected, with the reason."""

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
from nas.supernet.convert.build import build
from nas.supernet.convert.numbers import Way, take_as, ways
from nas.supernet.convert.proposals import Depth, Ordered, Proposal, Resolution, Width
from nas.supernet.convert.reference import Reference, difference, run_branch
from nas.supernet.sites import Site, find_sites, plain_copy

logger = logging.getLogger(__name__)

_SECONDS = 5.0
"""Between two lines of the log: nobody should wait longer without a word."""
_SMALLER = "a smaller one"
"""Words in the reasons that numbers may be to blame for."""
_NO_DIGITS = str.maketrans("", "", "0123456789")
_Check = Callable[[nn.Module, Sequence[Proposal]], str | None]


@final
class Probe:
    """Tries proposals on a copy of the network with other weights, on every branch.

    Args:
        model: In evaluation mode; copied.
        branches: Branches that its ``forward`` takes, the example's first.
    """

    def __init__(self, model: nn.Module, branches: Sequence[Branch]) -> None:
        self._generator = torch.Generator().manual_seed(0)
        first, *others = branches
        varied = first.on(first.example.map_tensors(self._vary))
        self._reference = Reference(model, [varied, *others], disturbed=True)
        self._trained = [b for b in branches if b.training]
        self._learned: dict[str, Way] = {}
        self._hopeless: set[str] = set()
        self._said = time.monotonic()
        self._tried = 0
        self._total = 0

    def _vary(self, value: Tensor) -> Tensor:
        """Replace constant images by noise, because many faults don't show on constant ones."""
        if not value.is_floating_point() or value.numel() < 2 or value.min() < value.max():
            return value
        return value + torch.randn(value.shape, generator=self._generator).to(value)

    def select_working(
        self, proposals: Sequence[Proposal]
    ) -> tuple[list[Proposal], list[tuple[Proposal, str]]]:
        """Return proposals that work together, and the others with the reasons.

        Most faults show in two networks on the example's branch, so these are tried first and often. The other
        branches, and then the other networks, are only tried with the proposals that are left. If the integer
        attributes of modules can be interpreted in several ways, a proposal that fails is tried with each of them.
        """
        # Layers that are alike fail alike: halving is quick where they stand side by side.
        alike = sorted(proposals, key=_kind)
        held, rejected = alike, list[tuple[Proposal, str]]()
        # Cheap checks first: what they refuse needs no dear one.
        for check in (self._quick, self._coarse, self._fine):
            held, more = self._sift(held, check)
            rejected += more
        places = {proposal.choice.name: number for number, proposal in enumerate(proposals)}
        return sorted(held, key=lambda p: places[p.choice.name]), rejected

    def _sift(
        self, proposals: list[Proposal], check: _Check
    ) -> tuple[list[Proposal], list[tuple[Proposal, str]]]:
        self._tried, self._total = 0, len(proposals)
        if self.fault(proposals, check) is None:
            return proposals, []
        held, rejected = self._halve(proposals, check, wrong=True)
        # Each half holds by itself, and together they may not, where one's sizes have to equal the other's.
        while (reason := self.fault(held, check)) is not None:
            wrong = held.pop(self._first_wrong(held, check) - 1)
            rejected.append((wrong, f"together with others, {reason}"))
        return held, rejected

    def _halve(
        self, proposals: list[Proposal], check: _Check, *, wrong: bool
    ) -> tuple[list[Proposal], list[tuple[Proposal, str]]]:
        """Return proposals that each work together with some of the others, and the rest with the reasons.

        Args:
            proposals: Proposals to try.
            check: How to try them.
            wrong: Whether all together are likely to fail, so that trying them at once would waste time.
        """
        if check == self._quick:  # later ones have been taken in a way that holds
            proposals = [self._apply_learned_way(one) for one in proposals]
        reason = "" if wrong and len(proposals) > 1 else self.fault(proposals, check)
        if reason is None or len(proposals) == 1:
            self._tried += len(proposals)
            return (proposals, []) if reason is None else self._mend_proposals(proposals[0], reason, check)
        middle = len(proposals) // 2
        first, rejected = self._halve(proposals[:middle], check, wrong=False)
        second, others = self._halve(proposals[middle:], check, wrong=first == proposals[:middle])
        return [*first, *second], [*rejected, *others]

    def _mend_proposals(
        self, proposal: Proposal, reason: str, check: _Check
    ) -> tuple[list[Proposal], list[tuple[Proposal, str]]]:
        """Return a proposal that failed, with its integer attributes interpreted so that it works, if possible."""
        kind, known = _kind(proposal), self._learned.values()
        if _SMALLER in reason and kind not in self._hopeless and isinstance(proposal, Width):
            for way in ways(self._reference.model, proposal, known):
                other = take_as(self._reference.model, proposal, way)
                if other != proposal and self.fault([other], check) is None:
                    self._learned[kind] = way
                    return [other], []
            self._hopeless.add(kind)
        return [], [(proposal, reason)]

    def _apply_learned_way(self, proposal: Proposal) -> Proposal:
        """Return a proposal with its integer attributes interpreted as was right for a similar layer."""
        way = self._learned.get(_kind(proposal))
        return (
            take_as(self._reference.model, proposal, way) if way and isinstance(proposal, Width) else proposal
        )

    def _first_wrong(self, proposals: list[Proposal], check: _Check) -> int:
        """Return the length of the shortest prefix of the proposals that fails; all of them together fail."""
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

        With channels in a random order, the largest architecture must compute what the network did before, on every
        branch. The smallest architecture, two random ones, and those in which sizes differ must run, also in training
        mode, and their outputs must equal those of the extracted networks.
        """
        if not proposals:
            return None
        self._tell()
        try:
            return (check or self._fine)(build(self._reference.model, proposals), proposals)
        except Exception as error:  # whatever a user's forward raises where channels are missing
            return f"{_SMALLER} doesn't run: {one_line(error)}"

    def _tell(self) -> None:
        if time.monotonic() - self._said > _SECONDS:
            self._said = time.monotonic()
            logger.info("converting: %d of %d possible choices tried", self._tried, self._total)

    def _shuffle(self, proposals: Sequence[Proposal]) -> list[tuple[Ordered, Tensor]]:
        orders: list[tuple[Ordered, Tensor]] = []
        for proposal in proposals:
            if isinstance(proposal, Ordered):
                order = torch.randperm(proposal.size, generator=self._generator)
                proposal.order(self._reference.model, order)
                orders.append((proposal, order))
        # Undone in the opposite order, because two proposals may order the same tensor.
        return orders[::-1]

    def _quick(self, elastic: nn.Module, proposals: Sequence[Proposal]) -> str | None:
        return self._coarse(elastic, proposals, branches=1)

    def _coarse(
        self, elastic: nn.Module, proposals: Sequence[Proposal], branches: int | None = None
    ) -> str | None:
        """Try the two networks that show most faults, on the first branches or on all."""
        sites = find_sites(elastic)
        sizes = [proposal.choice for proposal in proposals if not isinstance(proposal, Depth)]
        everything = [proposal.choice for proposal in proposals]
        activate(sites, _largest(everything) | (_smallest(sizes) if sizes else _smallest(everything)))
        if isinstance(made := self._run_smaller(elastic, branches), str):
            return made
        activate(sites, _largest(everything))
        return self._disorder(elastic, proposals, branches)

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
            if isinstance(made := self._run_smaller(elastic, None if options is smallest else 1), str):
                return made
            if self._extraction_differs(elastic, sites, made[0]):
                return f"{_SMALLER}, extracted, doesn't compute what it does in the network"
        parts = [_smallest(part) for part in _parts(sizes)]
        for part in [*parts, *_resolutions(proposals)]:
            activate(sites, largest | part)
            if isinstance(made := self._run_smaller(elastic, 1), str):
                return made
        activate(sites, thin)
        if (stop := self._stops_training(elastic)) is not None:
            return f"the network can't be trained with it: {stop}"
        activate(sites, largest)
        return self._disorder(elastic, proposals)

    def _run_smaller(self, elastic: nn.Module, branches: int | None) -> list[list[Tensor]] | str:
        """Return what a smaller network makes on so many branches, or on which it fails or makes other shapes."""
        reference, outputs = self._reference, []
        for branch, expected in list(zip(reference.branches, reference.expected, strict=True))[:branches]:
            try:
                made = run_branch(elastic, branch)
            except Exception as error:  # whatever a user's forward raises where channels are missing
                return f"{_SMALLER} doesn't run{branch.where}: {one_line(error)}"
            if [x.shape for x in made] != [x.shape for x in expected]:
                return f"{_SMALLER} changes the shape of the network's output{branch.where}"
            outputs.append(made)
        return outputs

    def _disorder(
        self, elastic: nn.Module, proposals: Sequence[Proposal], branches: int | None = None
    ) -> str | None:
        """Return on which of so many branches the whole network computes something else, or None.

        Its channels are put in a random order, in which they stay where nothing depends on it.
        """
        orders = self._shuffle(proposals)
        where: tuple[float, str] | None = (0.0, "")
        try:
            where = self._reference.departs(elastic, branches)
        finally:
            for proposal, order in orders if where is not None else ():
                proposal.order(self._reference.model, order.argsort())
        return None if where is None else f"the network's output depends on their order{where[1]}"

    def _extraction_differs(self, elastic: nn.Module, sites: list[Site], made: list[Tensor]) -> bool:
        alone = run_branch(plain_copy(elastic, sites), self._reference.branches[0])
        return difference(made, alone) > self._reference.tolerances[0]

    def _stops_training(self, elastic: nn.Module) -> str | None:
        """Return what a forward pass in training mode raises where the whole network raises nothing, or None."""
        for branch in self._trained:
            try:
                run_branch(elastic, self._reference.in_precision(branch))
            except Exception as error:  # whatever a user's forward raises
                return one_line(error)
        return None


def _kind(proposal: Proposal) -> str:
    """Return what the names of choices of layers that are alike have in common."""
    return proposal.choice.name.translate(_NO_DIGITS)


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
    # One part for each bit of a choice's number and its opposite: twenty choices need ten networks, not twenty.
    for bit in range((len(choices) - 1).bit_length() if choices else 0):
        for value in (0, 1):
            yield [choice for number, choice in enumerate(choices) if number >> bit & 1 == value]


def activate(sites: list[Site], options: dict[str, Option]) -> None:
    """Set every size to its value under ``options``."""
    for site in sites:
        for slot in site.slots:
            slot.module.__dict__[slot.attribute] = slot.expression.value(options)
