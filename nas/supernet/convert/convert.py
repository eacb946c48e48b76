"""From an existing module, trained or not, to one with elastic layers."""

from __future__ import annotations

import copy
import logging
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nas.choices import Choice
from nas.errors import ConversionError, one_line
from nas.supernet.attention import why_fixed
from nas.supernet.convert.blocks import BlockRow, block_rows
from nas.supernet.convert.dependencies import OUTPUT, ChannelGroup, Fixed, channel_groups
from nas.supernet.convert.example import Example
from nas.supernet.convert.importance import channel_importance, head_importance
from nas.supernet.convert.labels import FOREIGN
from nas.supernet.convert.probe import Probe, activate, difference, rounding, tensors
from nas.supernet.convert.proposals import Depth, Heads, Proposal, Width, build
from nas.supernet.convert.report import DEPTH, HEADS, Converted, reported
from nas.supernet.sites import find_sites

logger = logging.getLogger(__name__)

RATIOS = (0.25, 0.5, 0.75, 1.0)


def elastic_module(
    model: nn.Module,
    example_input: Tensor | tuple[Any, ...] | Mapping[str, Any],
    *,
    ratios: Sequence[float] = RATIOS,
    multiple_of: int = 8,
    keep: Sequence[str] = (),
    max_choices: int | None = None,
) -> Converted:
    """Return ``model`` with choices in it, ready for :class:`nas.Supernet` and for ``Study.network``.

    Widths become elastic where the dependency graph tells which channels go together (Fang 2023), attention
    loses whole heads, and of a row of residual blocks that keep their shape at least half (rounded down) stay,
    the first ones. Channels and
    heads are ordered by importance, so that the first ones are the best; the whole network computes what it
    did before. Everything is tried out on a twin, and what doesn't work stays fixed, with the reason.

    Args:
        model: Isn't changed; its weights are copied. Any device.
        example_input: What its ``forward`` takes: a tensor, a tuple of arguments, or a dictionary of keyword arguments.
        ratios: Of the full width or number of heads, the options to choose from; 1 is always one.
        multiple_of: Widths are rounded to multiples of this.
        keep: Paths of modules to leave as they are, with what is inside them.
        max_choices: At most so many; those that cut most weights stay. None for no limit.

    Raises:
        ConversionError: the model doesn't run on the example, or nothing can be elastic.
    """
    inputs = Example.of(example_input)
    _check_settings(model, ratios, multiple_of, keep, max_choices)
    work, modes, expected = _runnable(model, inputs)
    _check_repeats(work, inputs, expected)
    proposals, fixed = _proposed(work, inputs, ratios, multiple_of, keep)
    proposals, more = _limited(work, proposals, max_choices)
    accepted, rejected = Probe(work, inputs).settle(proposals)
    fixed += [*more, *(_of(proposal, reason) for proposal, reason in rejected)]
    if not accepted:
        reason, advice = _main_reason(fixed)
        raise ConversionError(f"nothing in {type(model).__name__} can be made elastic ({reason}): {advice}.")
    _order_by_importance(work, accepted)
    for path, module in work.named_modules():
        module.training = modes[path]
    elastic = build(work, accepted)
    _check_whole(elastic, inputs, accepted, expected)
    logger.info("%d choices, %d axes fixed", len(accepted), len(fixed))
    converted = Converted(elastic, reported(work, accepted, fixed))
    converted.training = model.training
    return converted


def _proposed(
    work: nn.Module, inputs: Example, ratios: Sequence[float], multiple_of: int, keep: Sequence[str]
) -> tuple[list[Proposal], list[Fixed]]:
    """Return all that might become elastic, and what can't, with the reasons."""
    groups, fixed = channel_groups(work, inputs, keep)
    proposals: list[Proposal] = []
    for group in groups:
        channels = group.size * group.unit
        options = _widths(channels, ratios, multiple_of, group.unit)
        if len(options) > 1:
            proposals.append(Width(Choice(f"{group.name}.width", options), group))
        elif group.size == 1:
            fixed.append(_of(group, f"all {channels} can only be left out together"))
        else:
            multiple = math.lcm(multiple_of, group.unit)
            fixed.append(_of(group, f"{channels} channels have no smaller multiple of {multiple}"))
    heads, odd = _heads(work, ratios, keep)
    rows, why = block_rows(work, inputs, keep)
    depths = [Depth(Choice(f"{row.name}.depth", _depths(row)), row) for row in rows]
    needed = [Fixed(((path, DEPTH),), reason) for path, reason in why.items()]
    return [*proposals, *heads, *depths], [*fixed, *odd, *needed]


def _check_settings(
    model: nn.Module, ratios: Sequence[float], multiple_of: int, keep: Sequence[str], max_choices: int | None
) -> None:
    if not ratios or not all(0 < ratio <= 1 for ratio in ratios):
        raise ConversionError(f"the ratios are {tuple(ratios)}: give numbers above 0 and up to 1.")
    if multiple_of < 1 or (max_choices is not None and max_choices < 1):
        raise ConversionError(
            f"multiple_of is {multiple_of} and max_choices {max_choices}: both must be at least 1."
        )
    known = [path for path, _ in model.named_modules() if path]
    unknown = [keep] if isinstance(keep, str) else [path for path in keep if path not in known]
    if unknown:
        raise ConversionError(
            f"keep names {unknown[0]!r}, which is no module of {type(model).__name__}: give a list of paths as "
            f"named_modules() has them, such as {known[:1]}."
        )


def _runnable(model: nn.Module, inputs: Example) -> tuple[nn.Module, dict[str, bool], list[Tensor]]:
    """Return a copy in evaluation mode, the modes that its modules had, and the output on the example."""
    name = type(model).__name__
    try:
        work = copy.deepcopy(model)
    except Exception as error:  # a user's module may hold anything
        raise ConversionError(
            f"{name} can't be copied ({error}): keep only modules, parameters, buffers and plain values in it."
        ) from error
    modes = {path: module.training for path, module in work.named_modules()}
    work.eval()
    try:
        with torch.no_grad():
            expected = tensors(inputs.run(work))
    except Exception as error:  # whatever a user's forward raises
        shapes = ", ".join(str(tuple(x.shape)) for x in inputs.tensors)
        raise ConversionError(
            f"{name} doesn't run on the example input of shape {shapes} "
            f"({one_line(error)}): give a batch as the network takes it, large "
            "enough for its depth, on the model's device."
        ) from error
    if not expected or not all(bool(torch.isfinite(x).all()) for x in expected):
        raise ConversionError(
            f"{name} gives {'no tensor' if not expected else 'NaN or infinity'} for the example input: finite "
            "tensors are needed to see that it still computes the same."
        )
    return work, modes, expected


def _check_repeats(work: nn.Module, inputs: Example, expected: list[Tensor]) -> None:
    try:
        with torch.no_grad():
            again = tensors(inputs.run(work))
        cause = None
    except Exception as error:  # of a forward that ran before
        again, cause = [], error
    if len(again) != len(expected) or difference(again, expected) > rounding(work):
        raise ConversionError(
            f"{type(work).__name__} gives another output when it runs again on the same example: its forward depends "
            "on chance or on earlier calls; make it repeat itself in evaluation mode (dropout with self.training)."
        ) from cause


def _main_reason(fixed: Sequence[Fixed]) -> tuple[str, str]:
    """Return why most axes stay fixed, the network's output aside, and what to do."""
    counts = Counter[str]()
    for kept in fixed:
        counts[kept.reason] += len(kept.axes)
    output = counts.pop(OUTPUT, 0)
    counts.pop(FOREIGN, 0)  # of the first layer
    rest = OUTPUT if output else "it has no layers with channels"
    reason = counts.most_common(1)[0][0] if counts else rest
    small = "no smaller multiple" in reason
    return reason, "use smaller ratios or multiple_of" if small else "write it with nas.supernet.elastic"


def _widths(size: int, ratios: Sequence[float], multiple_of: int, unit: int) -> tuple[int, ...]:
    """Return numbers of channels that are whole units, and multiples of what is wanted where there are any."""
    step = math.lcm(multiple_of, unit)
    step = step if step < size else unit if unit > 1 else step
    rounded = {max(1, round(size * ratio / step)) * step for ratio in ratios}
    return tuple(sorted({width for width in rounded if width < size} | {size}))


def _heads(
    model: nn.Module, ratios: Sequence[float], keep: Sequence[str]
) -> tuple[list[Proposal], list[Fixed]]:
    found: list[Proposal] = []
    fixed = []
    for path, module in model.named_modules():
        if not isinstance(module, nn.MultiheadAttention):
            continue
        kept = any(path == name or path.startswith(f"{name}.") for name in keep)
        reason = "it is to be kept" if kept else why_fixed(module)
        if reason is not None:
            fixed.append(Fixed(((path, HEADS),), reason))
        else:
            count = module.num_heads
            options = tuple(sorted({max(1, round(count * ratio)) for ratio in ratios} | {count}))
            found.append(Heads(Choice(f"{path}.heads", options), path, count))
    return found, fixed


def _depths(row: BlockRow) -> tuple[int, ...]:
    """Return up to four numbers of blocks, from half of them to all."""
    count = len(row.paths)
    least = count // 2
    steps = min(3, count - least)
    return tuple(sorted({count - round(step * (count - least) / steps) for step in range(steps + 1)}))


def _limited(
    model: nn.Module, proposals: list[Proposal], max_choices: int | None
) -> tuple[list[Proposal], list[Fixed]]:
    """Return the proposals that touch most weights, and what is said of the others."""
    if max_choices is None or len(proposals) <= max_choices:
        return proposals, []

    def weights(proposal: Proposal) -> int:
        return sum(p.numel() for path in proposal.paths for p in model.get_submodule(path).parameters())

    chosen = sorted(proposals, key=weights, reverse=True)[:max_choices]
    reason = f"others of the {len(proposals)} possible choices touch more weights, and max_choices is {max_choices}"
    return [p for p in proposals if p in chosen], [_of(p, reason) for p in proposals if p not in chosen]


def _of(proposal: Proposal | ChannelGroup, reason: str) -> Fixed:
    """Return what stays fixed without a proposal."""
    match proposal:
        case Heads():
            return Fixed(((proposal.path, HEADS),), reason)
        case Depth():
            return Fixed(tuple((path, DEPTH) for path in proposal.paths), reason)
        case Width():
            return _of(proposal.group, reason)
        case ChannelGroup():
            axes = dict.fromkeys((segment.path, segment.axis) for segment in proposal.segments)
            return Fixed(tuple(axes), reason)


def _order_by_importance(model: nn.Module, proposals: Sequence[Proposal]) -> None:
    for proposal in proposals:
        match proposal:
            case Width():
                importance = channel_importance(model, proposal.group)
            case Heads():
                attention = model.get_submodule(proposal.path)
                assert isinstance(attention, nn.MultiheadAttention)
                importance = head_importance(attention)
            case Depth():
                continue
        proposal.order(model, importance.argsort(descending=True, stable=True))


def _check_whole(
    elastic: nn.Module, inputs: Example, accepted: Sequence[Proposal], expected: list[Tensor]
) -> None:
    """Make sure that the whole network still computes what it did, with its own weights."""
    largest = {p.choice.name: p.choice.options[p.choice.largest_index] for p in accepted}
    trial = build(elastic, ())  # shares the weights, so that the expressions of the result stay
    modes = {module: module.training for module in trial.modules()}
    activate(find_sites(trial), largest)
    with torch.no_grad():
        found = difference(tensors(inputs.run(trial.eval())), expected)
    for module, training in modes.items():
        module.training = training
    if found > rounding(elastic):
        raise ConversionError(
            f"the converted {type(elastic).__name__} differs from the original by {found:.1g} of its largest output "
            "on the example input, which is more than the order of sums can explain: its forward may depend on "
            "chance or on earlier calls; keep such parts fixed with keep."
        )
