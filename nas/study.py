"""The description of an experiment: one frozen value, written in a Python file."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from torch import nn

from nas.errors import StudyError
from nas.evaluation.from_scratch import FromScratch
from nas.evaluation.proxy import ProxySubset
from nas.protocols import (
    AnyObjective,
    CompressionPass,
    Constraint,
    CountedObjective,
    DataSource,
    MeasuredObjective,
    Strategy,
    SupernetTraining,
)
from nas.supernet import SandwichRule
from nas.training import Recipe


@final
@dataclass(frozen=True)
class Winners:
    """How the search's winners are finished.

    Args:
        count: Front members to finish, at most.
        recipe: Of the fine-tuning, with the largest subnet as teacher.
        passes: Each makes one more variant of every winner.
    """

    count: int = 6
    recipe: Recipe = field(default_factory=lambda: Recipe(epochs=10, learning_rate=1e-3))
    passes: tuple[CompressionPass, ...] = ()

    def __post_init__(self) -> None:
        if self.count < 1:
            raise StudyError(f"winners.count is {self.count}: at least one winner is needed.")
        names = ["fp32", *(p.name for p in self.passes)]
        if len(set(names)) < len(names):
            raise StudyError(f"two variants of a winner have the same name in {names}: rename a pass.")


@final
@dataclass(frozen=True)
class Trust:
    """How the supernet's ranking is checked: against architectures that are trained on their own.

    Args:
        count: Architectures besides the winners, spread over the sizes of those that were evaluated.
        recipe: All of them, the winners too, are trained from scratch with it; None to fine-tune them
            as the winners are, which costs little and says less.
    """

    count: int = 4
    recipe: Recipe | None = None

    def __post_init__(self) -> None:
        if self.count < 0:
            raise StudyError(f"trust.count is {self.count}: 0 or more architectures are needed.")


@final
@dataclass(frozen=True)
class Study:
    """An experiment, whole.

    Args:
        name: Of the run directory and the Optuna study; letters, digits, ``-``, ``_`` and ``.``.
        network: Makes the module with choices in it. A ``functools.partial`` of a function in
            ``search_spaces`` lets ``nas.load`` rebuild a winner by itself.
        data: Where the images come from.
        objectives: What to trade off, at least one. The first is the quality: measured on images,
            learned by the surrogate, improved by fine-tuning.
        recipe: How long and how fast the supernet is trained, or each candidate where there is none.
        strategy: How architectures are proposed.
        constraints: Hard limits on counted quantities.
        evaluations: How many architectures to evaluate.
        winners: How many winners, and what is made of them.
        training: Where a candidate's weights come from: how the supernet is trained, or
            ``FromScratch()`` to train every candidate by itself.
        weights: A safetensors file with the weights of ``network()``, to begin with.
        proxy: Judge candidates on a part of the search split, as large as ranking needs; None for all.
        trust: How the supernet's ranking is checked.
        seed: Of everything that is random.
        intended_use: A sentence for the model cards.

    Raises:
        StudyError: something is missing or out of range.
    """

    name: str
    network: Callable[[], nn.Module]
    data: DataSource
    objectives: tuple[AnyObjective, ...]
    recipe: Recipe
    strategy: Strategy
    constraints: tuple[Constraint, ...] = ()
    evaluations: int = 150
    winners: Winners = field(default_factory=Winners)
    training: SupernetTraining | FromScratch = field(default_factory=SandwichRule)
    weights: Path | None = None
    proxy: ProxySubset | None = None
    trust: Trust = field(default_factory=Trust)
    seed: int = 0
    intended_use: str = "Research on neural architecture search."

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", self.name):
            raise StudyError(
                f"a study is named {self.name!r}: use letters, digits, '-', '_' and '.', because the name "
                "becomes a directory."
            )
        names = [o.objective.name for o in self.objectives]
        if not names:
            raise StudyError(f"study {self.name!r} has no objectives: give it at least one.")
        if len(set(names)) < len(names):
            raise StudyError(f"study {self.name!r} has two objectives of one name in {names}: remove one.")
        for objective in self.objectives:
            if isinstance(objective, MeasuredObjective) == isinstance(objective, CountedObjective):
                raise StudyError(
                    f"objective {objective!r} of study {self.name!r} must have either count(), or both calibrate() "
                    "and measure(): see CountedObjective and MeasuredObjective in nas.protocols."
                )
        if not isinstance(self.objectives[0], MeasuredObjective):
            raise StudyError(
                f"the first objective of study {self.name!r} is {names[0]!r}, which is counted: put a measured "
                "quality such as Accuracy() first."
            )
        if self.evaluations < 1:
            raise StudyError(f"study {self.name!r} has {self.evaluations} evaluations: at least 1 is needed.")
        self._check_training()

    def _check_training(self) -> None:
        if isinstance(self.training, FromScratch):
            self.training.rungs(self.recipe.epochs)
            if self.proxy is not None or self.weights is not None:
                raise StudyError(
                    f"study {self.name!r} trains its candidates from scratch: proxy and weights are for studies "
                    "with a supernet, leave them out."
                )
        elif not isinstance(self.training, SupernetTraining):
            raise StudyError(
                f"study {self.name!r} has training={self.training!r}: use SandwichRule(), ProgressiveShrinking(), "
                "SinglePath(), NoTraining(), FromScratch(), or what has their phases()."
            )


def stable_repr(value: object) -> str:
    """Return ``repr(value)`` without memory addresses, to compare between processes."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


def network_reference(network: Callable[[], nn.Module]) -> dict[str, object]:
    """Return where a network comes from, as plain values: ``factory`` and ``arguments``.

    ``arguments`` are those of a ``functools.partial``. What can't be told in plain values, such as a
    closure or an argument that is an object, has a ``factory`` that is no name: ``module:<lambda>``.
    """
    arguments: dict[str, object] = {}
    factory: object = network
    if isinstance(network, functools.partial):
        if network.args:
            raise StudyError("name the arguments of the network's partial: partial(convnet, classes=10).")
        arguments, factory = dict(network.keywords), network.func
    name = getattr(factory, "__qualname__", f"<{type(factory).__qualname__}>")
    if not all(isinstance(value, int | float | str | bool | None) for value in arguments.values()):
        name, arguments = f"<{name}>", {key: stable_repr(value) for key, value in arguments.items()}
    return {"factory": f"{getattr(factory, '__module__', '?')}:{name}", "arguments": arguments}
