"""From an existing module, trained or not, to one with elastic layers."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from nas.choices import Choice
from nas.errors import ConversionError
from nas.supernet.convert.blocks import BlockRow, block_rows
from nas.supernet.convert.branches import Branch, branches_of
from nas.supernet.convert.build import build
from nas.supernet.convert.checks import check_whole, runnable_copy
from nas.supernet.convert.dependencies import OUTPUT, ChannelGroup, Fixed, channel_groups
from nas.supernet.convert.example import Example, examples_of
from nas.supernet.convert.heads import split_heads
from nas.supernet.convert.importance import channel_importance, head_importance
from nas.supernet.convert.labels import FOREIGN
from nas.supernet.convert.probe import Probe
from nas.supernet.convert.proposals import (
    Activations,
    Depth,
    Heads,
    Kernel,
    Ordered,
    Proposal,
    Resolution,
    SplitHeads,
    Width,
)
from nas.supernet.convert.reference import Reference
from nas.supernet.convert.report import ACTIVATION, DEPTH, HEADS, KERNEL, RESOLUTION, Converted, make_report
from nas.supernet.convert.settings import RATIOS, Settings
from nas.supernet.convert.swaps import activation_choices, kernel_choices, resolution_choice, why_left_out
from nas.supernet.cut_attention import why_fixed
from nas.supernet.unfused import without_fast_path

logger = logging.getLogger(__name__)


def elastic_module(
    model: nn.Module,
    example_input: Tensor | tuple[Any, ...] | Mapping[str, Any] | list[Any],
    *,
    ratios: Sequence[float] = RATIOS,
    multiple_of: int = 8,
    keep: Sequence[str] = (),
    max_choices: int | None = None,
    kernels: Sequence[int] = (),
    activations: Sequence[str] = (),
    resolutions: Sequence[int] = (),
) -> Converted:
    """Return ``model`` with choices in it, ready for :class:`nas.Supernet` and for ``Study.network``.

    Widths become elastic where the dependency graph tells which channels go together (Fang 2023), attention
    loses whole heads, and of a row of residual blocks that keep their shape at least half (rounded down) stay,
    the first ones. Channels and
    heads are ordered by importance, so that the first ones are the best; the whole network computes what it
    did before. Everything is tried out on a twin, and what doesn't work stays fixed, with the reason.

    Args:
        model: Isn't changed; its weights are copied. Any device.
        example_input: What its ``forward`` takes: a tensor, a tuple of arguments, or a dictionary of keyword arguments;
            or a list of several such examples, for a ``forward`` that treats them differently.
        ratios: Ratios of the full width or number of heads, the options to choose from; 1 is always one.
        multiple_of: Widths are rounded to multiples of this.
        keep: Paths of modules to leave as they are, with what is inside them.
        max_choices: At most so many; those that cut most weights stay. None for no limit.
        kernels: Sizes that the kernels of convolutions may shrink to, such as (3, 5): their centre is used (Cai 2020),
            with less padding, so that the output keeps its size.
        activations: Names of activations, such as ("relu", "hardswish"), that may stand in place of those that
            the network has; one choice for all of a kind.
        resolutions: Sides, such as (48, 64), that square images may be resized to before the network gets them; the
            example's is the largest.

    Raises:
        ConversionError: the model doesn't run on the example, or nothing can be elastic.
    """
    examples = examples_of(example_input)
    settings = Settings(ratios, multiple_of, keep, max_choices, kernels, activations, resolutions)
    settings.check(model)
    with without_fast_path():
        return _convert(model, examples, settings)


def _convert(model: nn.Module, examples: list[Example], settings: Settings) -> Converted:
    work, modes = runnable_copy(model, examples)
    logger.info("converting %s: looking for the ways through its forward", type(model).__name__)
    branches = branches_of(work, examples)
    logger.info("converting: following the channels on %d of them", len(branches))
    # Branches may run on smaller images than the user's example, and that must come out right as well.
    whole = [Branch(example) for example in examples[:1] if example is not branches[0].example]
    reference = Reference(work, [*branches, *whole])
    resolution = resolution_choice(examples[0], settings)
    proposals, fixed = _propose(work, branches, settings)
    proposals, more = _limit_proposals(work, [*proposals, *resolution], settings.max_choices)
    logger.info("converting: trying %d possible choices", len(proposals))
    # What was followed says what might be cut; only to run the cut network shows that nothing was overlooked.
    accepted, rejected = Probe(work, branches).select_working(proposals)
    fixed += [*more, *(_of(proposal, reason) for proposal, reason in rejected)]
    if not accepted:
        reason, advice = _main_reason(fixed)
        raise ConversionError(f"nothing in {type(model).__name__} can be made elastic ({reason}): {advice}.")
    # A smaller width keeps the leading channels, so the ones that matter most have to come first.
    _order_by_importance(work, accepted)
    for path, module in work.named_modules():
        module.training = modes[path]
    elastic = build(work, accepted)
    check_whole(elastic, accepted, reference)
    logger.info("%d choices, %d axes fixed", len(accepted), len(fixed))
    converted = Converted(elastic, make_report(work, accepted, fixed), branches[0].example)
    converted.training = model.training
    return converted


def _propose(
    work: nn.Module, branches: Sequence[Branch], settings: Settings
) -> tuple[list[Proposal], list[Fixed]]:
    """Return proposals of what may become elastic, and what can't, with the reasons."""
    keep = settings.keep
    groups, fixed, unused = channel_groups(work, branches, keep)
    proposals, narrow = _width_choices(groups, settings)
    heads, odd = _heads(work, settings, unused)
    split, joined = split_heads(
        work, branches[0].example, keep, lambda count: _counts(count, settings.ratios)
    )
    # The channels of heads are cut head by head; a width of their own would cut across heads.
    claimed = {(s.path, s.tensor, s.dim) for one in split for s in one.group.segments}
    proposals = [p for p in proposals if not claimed & {(s.path, s.tensor, s.dim) for s in p.group.segments}]
    rows, why = block_rows(work, branches, keep, unused)
    depths = [Depth(Choice(f"{row.name}.depth", _depths(row)), row) for row in rows]
    needed = [Fixed(((path, DEPTH),), reason) for path, reason in why.items()]
    kernels, uncropped = kernel_choices(work, settings, unused)
    activations, none = activation_choices(work, settings, unused)
    found = [*proposals, *heads, *split, *depths, *kernels, *activations]
    return found, [*fixed, *narrow, *odd, *joined, *needed, *uncropped, *none]


def _width_choices(groups: Sequence[ChannelGroup], settings: Settings) -> tuple[list[Width], list[Fixed]]:
    proposals: list[Width] = []
    fixed = []
    for group in groups:
        channels = group.size * group.unit
        options = _widths(channels, settings.ratios, settings.multiple_of, group.unit)
        if len(options) > 1:
            proposals.append(Width(Choice(f"{group.name}.width", options), group))
        elif group.size == 1:
            fixed.append(_of(group, f"all {channels} can only be left out together"))
        else:
            multiple = math.lcm(settings.multiple_of, group.unit)
            fixed.append(_of(group, f"{channels} channels have no smaller multiple of {multiple}"))
    return proposals, fixed


_ADVICE = {
    "no smaller multiple": "use smaller ratios or multiple_of",
    "the example doesn't use": "give a list of examples that use every layer",
    "to be kept": "keep fewer modules",
    OUTPUT: "nothing in it can be left out without changing what it returns",
}
"""What to do about a reason, by a part of it."""


def _main_reason(fixed: Sequence[Fixed]) -> tuple[str, str]:
    """Return the most frequent reason why axes stay fixed, apart from the network's input and output, with advice."""
    counts = Counter[str]()
    for kept in fixed:
        counts[kept.reason] += len(kept.axes)
    ends = {reason: counts.pop(reason) for reason in (OUTPUT, FOREIGN) if reason in counts}
    rest = next(iter(ends), "it has no layers with channels")
    reason = counts.most_common(1)[0][0] if counts else rest
    known = (advice for part, advice in _ADVICE.items() if part in reason)
    return reason, next(known, "docs/my_network.md says what each reason means and what to do")


def _widths(size: int, ratios: Sequence[float], multiple_of: int, unit: int) -> tuple[int, ...]:
    """Return numbers of channels that are whole units, and multiples of what is wanted where there are any."""
    step = math.lcm(multiple_of, unit)
    # A step as large as the whole width would leave it nothing to choose.
    step = step if step < size else unit if unit > 1 else step
    rounded = {max(1, round(size * ratio / step)) * step for ratio in ratios}
    return tuple(sorted({width for width in rounded if width < size} | {size}))


def _heads(
    model: nn.Module, settings: Settings, unused: Mapping[str, tuple[str, ...]]
) -> tuple[list[Proposal], list[Fixed]]:
    found: list[Proposal] = []
    fixed = []
    for path, module in model.named_modules():
        if not isinstance(module, nn.MultiheadAttention):
            continue
        reason = why_left_out(path, settings, unused) or why_fixed(module)
        if reason is not None:
            fixed.append(Fixed(((path, HEADS),), reason))
        else:
            count = module.num_heads
            found.append(Heads(Choice(f"{path}.heads", _counts(count, settings.ratios)), path, count))
    return found, fixed


def _counts(count: int, ratios: Sequence[float]) -> tuple[int, ...]:
    """Return the numbers of heads to choose from."""
    return tuple(sorted({max(1, round(count * ratio)) for ratio in ratios} | {count}))


def _depths(row: BlockRow) -> tuple[int, ...]:
    """Return up to four numbers of blocks, from the fewest that must stay to all."""
    count, least = len(row.paths), row.least
    steps = min(3, count - least)
    return tuple(sorted({count - round(step * (count - least) / steps) for step in range(steps + 1)}))


def _limit_proposals(
    model: nn.Module, proposals: list[Proposal], max_choices: int | None
) -> tuple[list[Proposal], list[Fixed]]:
    """Return the proposals that change most weights, and the others with the reason why they are left out."""
    if max_choices is None or len(proposals) <= max_choices:
        return proposals, []

    def weights(proposal: Proposal) -> int:
        if isinstance(proposal, Activations):  # they hold none, and were asked for by name
            return sum(p.numel() for p in model.parameters())
        return sum(p.numel() for path in proposal.paths for p in model.get_submodule(path).parameters())

    chosen = sorted(proposals, key=weights, reverse=True)[:max_choices]
    reason = f"others of the {len(proposals)} possible choices touch more weights, and max_choices is {max_choices}"
    return [p for p in proposals if p in chosen], [_of(p, reason) for p in proposals if p not in chosen]


def _of(proposal: Proposal | ChannelGroup, reason: str) -> Fixed:
    """Return the axes that stay fixed if a proposal is rejected."""
    match proposal:
        case Heads():
            return Fixed(((proposal.path, HEADS),), reason)
        case SplitHeads():
            return Fixed(tuple((holder, HEADS) for holder in proposal.holders), reason)
        case Depth():
            return Fixed(tuple((path, DEPTH) for path in proposal.paths), reason)
        case Kernel():
            return Fixed(((proposal.path, KERNEL),), reason)
        case Resolution():
            return Fixed((("", RESOLUTION),), reason)
        case Activations():
            return Fixed(tuple((path, ACTIVATION) for path in proposal.paths), reason)
        case Width():
            return _of(proposal.group, reason)
        case ChannelGroup():
            axes = dict.fromkeys((segment.path, segment.axis) for segment in proposal.segments)
            return Fixed(tuple(axes), reason)


def _order_by_importance(model: nn.Module, proposals: Sequence[Proposal]) -> None:
    for proposal in proposals:
        if not isinstance(proposal, Ordered):
            continue
        if isinstance(proposal, Heads):
            attention = model.get_submodule(proposal.path)
            assert isinstance(attention, nn.MultiheadAttention)
            importance = head_importance(attention)
        else:
            importance = channel_importance(model, proposal.group)
        proposal.order(model, importance.argsort(descending=True, stable=True))
