"""A module with choices in it as one network whose weights all architectures share."""

from __future__ import annotations

import contextlib
import reprlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn

from nas.checks import quote
from nas.choices import Choice, Option
from nas.errors import ShapeError, SpaceError, one_line
from nas.inputs import Form, Inputs, InputSpec, as_spec, call_network
from nas.space import Architecture, Condition, IntArray, SearchSpace
from nas.supernet.convert import Converted, Report, elastic_module
from nas.supernet.convert.settings import RATIOS
from nas.supernet.pretrained import describe
from nas.supernet.probing import probing
from nas.supernet.resized import Resized
from nas.supernet.sites import Site, find_sites, plain_copy
from nas.task import Task

_MOST_NEIGHBOURS = 100
"""Architectures to try one by one, which takes a network of a hundred layers some seconds."""
_MOST_POSITIONS = 16
"""Of a choice's options to try where more are too many to try each by itself."""

Draw = Callable[[np.random.Generator], Architecture]
"""Returns a random architecture."""


@final
class Supernet(nn.Module):
    """One network whose weights all architectures of its space share.

    The space is found by walking ``module``: every attribute that holds a choice, or arithmetic on
    choices, from then on holds the number of the active architecture. This is how the elastic layers
    work, and any module of a user's can do the same.

    ``draw`` gives training its random architectures: all are equally likely, unless it is replaced because some
    are of no use.

    Args:
        module: Any module with choices in it. It is used as it is, not copied.

    Raises:
        SpaceError: the module has no choices, or two different choices share a name.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        if not isinstance(module, nn.Module) or isinstance(module, Supernet | torch.jit.ScriptModule):
            raise SpaceError(
                f"a supernet can't be made of {quote(module)}: an nn.Module is expected, neither a supernet already "
                "nor compiled by torch.jit, because its sizes will change."
            )
        self.module = module
        self.sites = find_sites(module)
        self.space = _space(self.sites)
        self.draw: Draw = self.space.sample
        self._slots = [slot for site in self.sites for slot in site.slots]
        self._architecture = self.space.largest()
        self._activate(self._architecture)

    @classmethod
    def from_module(
        cls,
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
    ) -> Supernet:
        """Turn an existing module, trained or not, into a supernet; ``report`` says what became elastic.

        See :func:`nas.supernet.elastic_module` for what is done, the arguments and the errors.
        """
        converted = elastic_module(
            model,
            example_input,
            ratios=ratios,
            multiple_of=multiple_of,
            keep=keep,
            max_choices=max_choices,
            kernels=kernels,
            activations=activations,
            resolutions=resolutions,
        )
        return cls(converted).train(model.training)

    @property
    def report(self) -> Report | None:
        """What became elastic in a module that was converted, and why the rest did not; None for others."""
        return self.module.report if isinstance(self.module, Converted) else None

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """Run the active subnet."""
        return self.module(*inputs, **named)

    @property
    def architecture(self) -> Architecture:
        """The active architecture; the largest one at first."""
        return self._architecture

    def _activate(self, architecture: Architecture) -> None:
        for slot in self._slots:
            # Past nn.Module.__setattr__, which looks for parameters and modules: ten times faster.
            slot.module.__dict__[slot.attribute] = slot.expression.value(architecture)
        self._architecture = architecture

    @contextlib.contextmanager
    def active(self, architecture: Architecture) -> Iterator[Supernet]:
        """Use one subnet, as views of the shared weights.

        The previous one is active again on exit, also after an error.
        """
        previous = self._architecture
        self._activate(self.space.architecture(architecture))
        try:
            yield self
        finally:
            self._activate(previous)

    def extract(self, architecture: Architecture, *, config: bool = True) -> nn.Module:
        """Return the subnet as a plain module with its own weights, in the supernet's mode.

        Elastic layers become layers of ``torch.nn``; all other modules are copied. Batch-norm
        statistics are copied as they are: recalibrate the result before judging it. The ``config`` of a network
        of transformers says the sizes that are left; where none can, its ``save_pretrained`` says why.

        Args:
            architecture: Architecture of the space.
            config: Whether to look for that ``config``, which can take a second; no other network has one.
        """
        with self.active(architecture):
            plain = plain_copy(self.module, self.sites)
        if isinstance(plain, Converted):
            example, plain = plain.example, plain.module
            plain = plain.module if isinstance(plain, Resized) and plain.side == plain.given else plain
            if config:
                describe(plain, example)
        return plain.train(self.training)

    def probes(self) -> list[Architecture]:
        """Return architectures that together use every option, as far as a choice has no more than 16.

        The largest, the smallest, and the largest with one choice changed. In a converted module, where
        sizes fit each other by construction, the latter change all widths at once; where there are more than a
        hundred of them, they change all choices at once, each to another position of its options.
        """
        largest = self.space.largest()
        ends = [largest, self.space.smallest()]
        if isinstance(self.module, Converted):
            return [*ends, *self._ranks(largest)]
        if self.space.num_options.sum() - len(self.space.choices) <= _MOST_NEIGHBOURS:
            return [*ends, *(changed for changed, _ in self._neighbours(largest))]
        return [*ends, *self._mix_extremes(largest)]

    def _mix_extremes(self, largest: Architecture) -> list[Architecture]:
        """Return the largest with all choices changed that control no other, and with all changed that do."""
        rng = np.random.default_rng(0)
        controlling = self._controlling()
        rows: list[dict[str, Option]] = []
        for group in (False, True):
            choices = [c for c in self.space.choices if (c.name in controlling) == group]
            spread = {c.name: rng.permutation(_evenly_spaced(len(c.options))) for c in choices}
            for rank in range(max(map(len, spread.values()), default=0)):
                rows.append({c.name: c.options[np.resize(spread[c.name], rank + 1)[-1]] for c in choices})
        return [self.space.architecture({**largest, **row}) for row in rows]

    def _controlling(self) -> set[str]:
        return {c.choice for found in self.space.conditions.values() for a in found for c in a}

    def _ranks(self, largest: Architecture) -> list[Architecture]:
        """Return, for each position, the architecture of the options there; depth is changed last."""
        depths = self._controlling()
        widths = [c for c in self.space.choices if c.name not in depths]
        ranks = range(max((len(c.options) for c in widths), default=0))
        rows = [{c.name: c.options[min(rank, len(c.options) - 1)] for c in widths} for rank in ranks]
        rows += [{name: option} for name in sorted(depths) for option in self.space[name].options]
        return [self.space.architecture({**largest, **row}) for row in rows]

    def _neighbours(self, architecture: Architecture) -> list[tuple[Architecture, Choice]]:
        """Return every architecture that differs in one choice, with that choice."""
        return [
            (self.space.architecture({**architecture, choice.name: option}), choice)
            for choice in self.space.choices
            for option in choice.options
            if option != architecture[choice.name]
        ]

    def check_shapes(self, form: Form, task: Task, targets: Tensor | None = None) -> dict[str, int]:
        """Run every probe on one item without content.

        Args:
            form: What the network takes.
            task: Says whether outputs are what they should be.
            targets: ``(1, *)`` of an item; a single class unless given.

        Returns:
            The multiply-accumulates of each probe by its id, which running them shows as well.

        Raises:
            ShapeError: shapes don't fit; says in which module, and which choice alone would mend it.
        """
        spec = as_spec(form)
        inputs = spec.blank(1, next(self.parameters()).device)
        of_item = torch.zeros(1, dtype=torch.int64) if targets is None else targets

        def fault_of(architecture: Architecture) -> str | None:
            return self._fault(architecture, inputs, lambda outputs: task.fault(of_item, outputs))

        probes = self.probes()
        fitting = self.count_macs(probes, spec, lambda outputs: task.fault(of_item, outputs) is None)
        with self._evaluating():
            for architecture in probes:
                fault = None if architecture.id in fitting else fault_of(architecture)
                if fault is not None:
                    where = self._blame_choices(architecture, fault_of)
                    raise ShapeError(
                        f"the network doesn't fit {_describe_inputs(spec)}, {where}: {fault}. "
                        "Make the sizes agree for every option."
                    )
        return fitting

    def count_macs(
        self,
        architectures: Iterable[Architecture],
        form: Form,
        fits: Callable[[Tensor], bool] = lambda _outputs: True,
    ) -> dict[str, int]:
        """Return the multiply-accumulates of one item in each architecture by its id, as torch counts them.

        Elastic layers compute little of what they give (:mod:`nas.supernet.probing`). Where that, or counting itself,
        doesn't work with a network, or an output doesn't fit, the architecture is missing.

        Args:
            architectures: Architectures of the space.
            form: What the network takes.
            fits: Whether an output is as it should be.
        """
        macs: dict[str, int] = {}
        inputs = as_spec(form).blank(1, next(self.parameters()).device)
        with self._evaluating(), self.active(self.architecture), probing(self.module) as counter:
            for architecture in architectures:
                before = counter.flops
                self._activate(self.space.architecture(architecture))
                try:
                    outputs = call_network(self, inputs)
                except KeyboardInterrupt:
                    raise
                except BaseException:  # whatever a user's forward raises, SystemExit too
                    continue
                count = (counter.flops - before) // 2
                if isinstance(outputs, Tensor) and fits(outputs):
                    macs[architecture.id] = count
        return macs

    @contextlib.contextmanager
    def _evaluating(self) -> Iterator[None]:
        was_training = self.training
        self.eval()
        try:
            yield
        finally:
            self.train(was_training)

    def _blame_choices(
        self, architecture: Architecture, fault_of: Callable[[Architecture], str | None]
    ) -> str:
        """Return which choices alone would mend an architecture, of a large space among those that it has changed."""
        neighbours = self._neighbours(architecture)
        if len(neighbours) > _MOST_NEIGHBOURS:
            largest = self.space.largest()
            neighbours = [(n, c) for n, c in neighbours if n[c.name] == largest[c.name]]
        mending = [
            f"{choice.name!r} is {architecture[choice.name]!r} (with {changed[choice.name]!r} it fits)"
            for changed, choice in neighbours
            if fault_of(changed) is None
        ]
        if mending:
            return f"where choice {' or '.join(mending)}"
        return f"and no single choice is to blame in {reprlib.repr(dict(architecture))}"

    def _fault(
        self, architecture: Architecture, inputs: Inputs, fault: Callable[[Tensor], str | None]
    ) -> str | None:
        """Return what is wrong with a subnet's outputs in words, or None."""
        with self.active(architecture), torch.no_grad(), _last_module(self.module) as last:
            try:
                output = call_network(self, inputs)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # whatever a user's forward raises, SystemExit too
                return f"module {last[-1]!r} says {one_line(error)!r}"
        if not isinstance(output, Tensor):
            return f"the output is {type(output).__name__} and a tensor is expected"
        return fault(output)


def _describe_inputs(spec: InputSpec) -> str:
    if len(spec.shapes) == 1:
        return f"an input of shape {spec.shapes[0]}"
    return f"inputs of the shapes {', '.join(map(str, spec.shapes))}"


def _evenly_spaced(count: int) -> IntArray:
    """Return positions of up to so many options, both ends among them."""
    return np.unique(np.linspace(0, count - 1, min(count, _MOST_POSITIONS)).round().astype(np.int64))


def _space(sites: list[Site]) -> SearchSpace:
    choices: dict[str, Choice] = {}
    alternatives: dict[str, list[tuple[Condition, ...]]] = {}
    for site in sites:
        for slot in site.slots:
            for found in slot.expression.choices:
                known = choices.setdefault(found.name, found)
                if known is not found and repr(known) != repr(
                    found
                ):  # 1 and True are equal, and different options
                    raise SpaceError(
                        f"choice {found.name!r} is used with the options {known.options} and, in module "
                        f"{site.path!r}, with {found.options}: one name must mean one choice."
                    )
                alternatives.setdefault(found.name, []).extend(site.alternatives)
    if not choices:
        raise SpaceError(
            "the module has no choices: put nas.choice(name, options...) where a size of an elastic layer "
            "goes."
        )
    conditions = {
        name: tuple(dict.fromkeys(found)) for name, found in alternatives.items() if () not in found
    }
    return SearchSpace(tuple(choices.values()), conditions)


@contextlib.contextmanager
def _last_module(root: nn.Module) -> Iterator[list[str]]:
    """Keep the path of the module whose forward began last."""
    last = [""]

    def remember(path: str) -> object:
        return lambda *_: last.append(path)

    hooked = [
        (p, m) for p, m in root.named_modules() if not isinstance(m, torch.jit.ScriptModule)
    ]  # they refuse
    handles = [m.register_forward_pre_hook(remember(path)) for path, m in hooked]
    try:
        yield last
    finally:
        for handle in handles:
            handle.remove()
