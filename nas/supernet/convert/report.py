"""The report of a conversion: what became elastic, what stayed fixed, and why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, final

from torch import nn

from nas.supernet.convert.dependencies import Fixed
from nas.supernet.convert.example import Example
from nas.supernet.convert.proposals import Proposal, SplitHeads, Width
from nas.supernet.cut import IN, OUT, axis_name, channel_dims, why_whole

HEADS, DEPTH, KERNEL = "heads", "depth", "kernel"
ACTIVATION, RESOLUTION = "activation", "resolution"
_WORDS = {
    IN: "input channels",
    OUT: "output channels",
    HEADS: "heads",
    DEPTH: "depth",
    KERNEL: "kernel",
    ACTIVATION: "activation",
    RESOLUTION: "resolution",
}
_UNCOUPLED = {
    IN: "its channels are the network's input, or come from no layer",
    OUT: "its channels are not known to come from a layer, or the example doesn't use it",
}


@final
@dataclass(frozen=True)
class Row:
    """One module.

    Args:
        path: In the user's module.
        kind: Its type's name.
        choices: Names of the choices that it follows.
        reasons: Why something about it stayed fixed; empty where nothing did.
    """

    path: str
    kind: str
    choices: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()

    def __str__(self) -> str:
        elastic = f"elastic ({', '.join(self.choices)})" if self.choices else ""
        fixed = "; ".join(self.reasons)
        said = "; ".join(text for text in (elastic, fixed) if text)
        return f"{self.path or 'the model itself'} ({self.kind}): {said}"


@final
@dataclass(frozen=True)
class Report:
    """What :meth:`nas.Supernet.from_module` did, module by module.

    Args:
        rows: Every module with weights of its own, and every block that was looked at for elastic depth,
            in the order of the module.
    """

    rows: tuple[Row, ...]

    @property
    def elastic(self) -> tuple[Row, ...]:
        """Modules that follow some choice."""
        return tuple(row for row in self.rows if row.choices)

    @property
    def fixed(self) -> tuple[Row, ...]:
        """Modules that follow none."""
        return tuple(row for row in self.rows if not row.choices)

    def __getitem__(self, path: str) -> Row:
        for row in self.rows:
            if row.path == path:
                return row
        raise KeyError(path)

    def __str__(self) -> str:
        return "\n".join(map(str, self.rows))


@final
class Converted(nn.Module):
    """A user's module with elastic layers in place of plain ones.

    Args:
        module: A module of the user's type.
        report: On how it was made.
        example: Example of what its ``forward`` takes.
    """

    def __init__(self, module: nn.Module, report: Report, example: Example) -> None:
        super().__init__()
        self.module = module
        self.report = report
        self.example = example

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """Run the user's module."""
        return self.module(*inputs, **named)


def make_report(model: nn.Module, accepted: Iterable[Proposal], fixed: Iterable[Fixed]) -> Report:
    """Return the report on a conversion.

    Args:
        model: Before its layers were exchanged.
        accepted: What became elastic.
        fixed: What stayed fixed.
    """
    choices: dict[str, list[str]] = {}
    elastic: set[tuple[str, str]] = set()
    for proposal in accepted:
        for path in proposal.paths:
            choices.setdefault(path, []).append(proposal.choice.name)
        if isinstance(proposal, Width | SplitHeads):
            elastic |= {(segment.path, segment.axis) for segment in proposal.group.segments}
    reasons: dict[str, dict[str, list[str]]] = {}
    for kept in fixed:
        for path, axis in kept.axes:
            if (path, axis) in elastic:
                continue
            reasons.setdefault(path, {}).setdefault(axis, []).append(kept.reason)
    rows = []
    for path, module in model.named_modules():
        holds = any(True for _ in module.parameters(recurse=False))
        inside = isinstance(model.get_submodule(path.rpartition(".")[0]), nn.MultiheadAttention)
        if not inside and (holds or path in choices or path in reasons):
            known = reasons.get(path, {})
            for axis in _axes(module) if holds else ():
                if (path, axis) not in elastic and axis not in known:
                    known[axis] = [_UNCOUPLED[axis]]
            texts = [f"{_WORDS[axis]} fixed: {'; '.join(dict.fromkeys(why))}" for axis, why in known.items()]
            if not texts and path not in choices:
                texts = [f"fixed: {_unknown(module)}"]
            name = type(module).__name__
            rows.append(Row(path, name, tuple(dict.fromkeys(choices.get(path, ()))), tuple(texts)))
    return Report(tuple(rows))


def _axes(module: nn.Module) -> tuple[str, ...]:
    if why_whole(module) is not None:
        return ()
    axes = (
        axis_name(module, name, dim)
        for name, parameter in module.named_parameters(recurse=False)
        for dim in channel_dims(module, parameter)
        if parameter.shape[dim] > 1
    )
    return tuple(dict.fromkeys(axes))


def _unknown(module: nn.Module) -> str:
    return why_whole(module) or "it isn't used with the example input"
