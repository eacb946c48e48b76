"""Progressive shrinking: the largest network first, then ever more choices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, final

import torch
from torch import Tensor, nn

from nas.choices import Option
from nas.errors import StudyError
from nas.inputs import Inputs, call_network
from nas.space import Architecture
from nas.supernet.sandwich import draw_architectures
from nas.supernet.supernet import Supernet
from nas.task import Task
from nas.training import Losses, Recipe, Step, make_supervised_step
from nas.training.phases import Phase
from nas.training.steps import distillation_loss, make_generator, prepare_batch

Role = Literal["kernel", "depth", "width"]
ROLES: tuple[Role, ...] = ("kernel", "depth", "width")
"""What becomes elastic, in this order."""


@final
@dataclass(frozen=True)
class ProgressiveShrinking:
    """The largest subnet, then elastic kernels, then depth as well, then width as well (Cai 2020).

    Every phase after the first learns from the targets and from the largest subnet as it was at the end
    of the first phase. A phase for which the space has no choices is left out. The recipe's epochs are
    shared out; phases have a warm-up and a decay of their own.

    Args:
        largest_share: Part of the epochs that the largest subnet is trained for alone.
        shrinking_rate: Learning rate of the later phases, as a multiple of the recipe's.
        num_random: Subnets per batch in the later phases.

    Raises:
        StudyError: a number is out of range.
    """

    largest_share: float = 0.3
    shrinking_rate: float = 0.4
    num_random: int = 2

    def __post_init__(self) -> None:
        if not (0 < self.largest_share < 1 and self.shrinking_rate > 0 and self.num_random > 0):
            raise StudyError(
                f"{self} is out of range: largest_share lies between 0 and 1, shrinking_rate is positive, and "
                "num_random is at least 1."
            )

    def phases(self, supernet: Supernet, recipe: Recipe, task: Task) -> Sequence[Phase]:
        """Return two to four phases.

        Raises:
            StudyError: the recipe has fewer epochs than there are phases.
        """
        roles = choice_roles(supernet)
        present = [role for role in ROLES if role in roles.values()]
        epochs = _share_out(recipe.epochs, self.largest_share, len(present))
        teacher = _Snapshot(supernet)
        phases = [
            Phase("largest", replace(recipe, epochs=epochs[0]), lambda: _largest_step(supernet, task, recipe))
        ]
        for position, role in enumerate(present):
            elastic = frozenset(name for name, of in roles.items() if of in present[: position + 1])
            slower = replace(
                recipe,
                epochs=epochs[position + 1],
                learning_rate=recipe.learning_rate * self.shrinking_rate,
            )
            phases.append(
                Phase(
                    f"elastic {role}",
                    slower,
                    _Lazy(supernet, task, slower, teacher, elastic, self.num_random),
                )
            )
        return phases


@final
@dataclass(frozen=True)
class _Lazy:
    """Makes a phase's step when the phase begins, when the teacher is known."""

    supernet: Supernet
    task: Task
    recipe: Recipe
    teacher: _Snapshot
    elastic: frozenset[str]
    num_random: int

    def __call__(self) -> Step:
        teacher = self.teacher.network()
        return shrinking_step(
            self.supernet, self.task, self.recipe, teacher, self.elastic, num_random=self.num_random
        )


@final
class _Snapshot:
    """The largest subnet as it is when first asked for: at the end of the first phase."""

    def __init__(self, supernet: Supernet) -> None:
        self._supernet = supernet
        self._network: nn.Module | None = None

    def network(self) -> nn.Module:
        if self._network is None:
            self._network = self._supernet.extract(self._supernet.space.largest()).eval()
        return self._network


def choice_roles(supernet: Supernet) -> dict[str, Role]:
    """Return what every choice decides: the side of a kernel, whether a block is there, or else a width."""
    conditions = [c for site in supernet.sites for alternative in site.alternatives for c in alternative]
    depth = {condition.choice for condition in conditions}
    kernel = {
        found.name
        for site in supernet.sites
        for slot in site.slots
        if "kernel" in slot.attribute
        for found in slot.expression.choices
    }
    return {
        c.name: "depth" if c.name in depth else "kernel" if c.name in kernel else "width"
        for c in supernet.space.choices
    }


def shrinking_step(
    supernet: Supernet,
    task: Task,
    recipe: Recipe,
    teacher: nn.Module,
    elastic: frozenset[str],
    *,
    num_random: int,
) -> Step:
    """Return a step that trains random subnets whose other choices are those of the largest.

    Args:
        supernet: What is trained.
        task: What it is for.
        recipe: For the label smoothing.
        teacher: In evaluation mode; not changed.
        elastic: Names of the choices that may differ from the largest subnet's.
        num_random: Subnets per batch.
    """
    # What isn't elastic yet stays the largest, so that each phase adds one kind of change to what is learned already.
    fixed = {name: option for name, option in supernet.space.largest().items() if name not in elastic}

    def step(inputs: Inputs, targets: Tensor, generator: torch.Generator) -> Losses:
        batch = prepare_batch(inputs, targets, recipe, generator)
        with torch.no_grad():
            taught = call_network(teacher, batch.inputs)
        for architecture in _draw_with(fixed, supernet, num_random, generator):
            with supernet.active(architecture):
                outputs = call_network(supernet, batch.inputs)
                yield distillation_loss(task, recipe, batch, outputs, taught)

    return step


def _draw_with(
    fixed: Mapping[str, Option], supernet: Supernet, count: int, generator: torch.Generator
) -> list[Architecture]:
    """Return random architectures with some choices fixed; all options of the others are equally likely.

    Even those that rarely matter when everything is drawn, such as the kernels of a block that is there only at the
    largest depth.
    """
    if not fixed:
        return draw_architectures(supernet, count, generator)
    space = supernet.space
    rng = make_generator(generator)
    return [
        space.architecture(
            {**{c.name: c.options[rng.integers(len(c.options))] for c in space.choices}, **fixed}
        )
        for _ in range(count)
    ]


def _largest_step(supernet: Supernet, task: Task, recipe: Recipe) -> Step:
    step = make_supervised_step(supernet, task, recipe)

    def largest(inputs: Inputs, targets: Tensor, generator: torch.Generator) -> Losses:
        with supernet.active(supernet.space.largest()):
            yield from step(inputs, targets, generator)

    return largest


def _share_out(epochs: int, largest_share: float, num_later: int) -> list[int]:
    if epochs <= num_later:
        raise StudyError(
            f"progressive shrinking has {num_later + 1} phases in this space and the recipe has {epochs} epochs: "
            f"give it at least {num_later + 1}."
        )
    # Every later phase keeps an epoch at least.
    first = min(max(1, round(epochs * largest_share)), epochs - num_later)
    even, extra = divmod(epochs - first, num_later)
    return [first, *(even + (position < extra) for position in range(num_later))]
