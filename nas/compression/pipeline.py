"""Compression: passes on a network that stand in a row, and whose choices may be searched with its architecture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, final, runtime_checkable

from nas.checks import check_file_name, check_kind, quote
from nas.choices import Option
from nas.errors import StudyError
from nas.inputs import InputSpec
from nas.space import SearchSpace
from nas.splits import Split
from nas.task import Task

if TYPE_CHECKING:
    import torch
    from torch import nn

    from nas.training import Recipe

PLAIN = "fp32"
"""The variant that no pass has made a file of yet."""


@final
@dataclass(frozen=True)
class Model:
    """A network on its way through a row of passes.

    Args:
        inputs: What it takes.
        module: As it stands, in evaluation mode; None where only a file is left, such as one of int8.
        onnx: Serialised ONNX with a dynamic batch dimension; None before the first pass that works on the file.
        applied: What was done to it, in order, for people to read: ``prune to 0.5 of the channels``.
    """

    inputs: InputSpec
    module: nn.Module | None = None
    onnx: bytes | None = None
    applied: tuple[str, ...] = ()


@final
@dataclass(frozen=True)
class Lab:
    """What a pass may use.

    Args:
        train: The training split; nothing else is to be looked at.
        task: What the network is for: its losses.
        recipe: The winners' recipe, for passes that train and state none of their own.
        training_device: Where passes that train do so.
        seed: Seed of everything that is random.
        folder: The pass's own, to keep checkpoints and scratch files in; emptied afterwards.
        teacher: What a student may learn from, in evaluation mode; None where nothing is better than the student.
        assistants: Gives smaller teachers of the same family, from small to large, made when it is called.
    """

    train: Split
    task: Task
    recipe: Recipe
    training_device: torch.device
    seed: int
    folder: Path
    teacher: nn.Module | None = None
    assistants: Callable[[], Sequence[nn.Module]] = tuple


@runtime_checkable
class CompressionPass(Protocol):
    """Makes a network smaller, faster or better. ``repr`` goes into the digest of what it makes: a frozen dataclass.

    The choices that it brings run from small to large like those of a network, and its largest options change
    nothing, such as a share of channels to keep of 1, or 32 bits.
    """

    @property
    def name(self) -> str:
        """Short, for file names, tables and as the first part of its choices' names: ``int8``."""

    @property
    def works_on(self) -> Literal["module", "file"]:
        """A pass on the module gets and gives one; a pass on the file gets and gives serialised ONNX."""

    @property
    def trains(self) -> bool:
        """Whether it takes an epoch of training or more, and so is left to winners; others run in the search too."""

    def choices(self) -> SearchSpace:
        """Return the choices that join the study's space, named ``prune.keep``; ``SearchSpace(())`` for none."""

    def apply(self, model: Model, options: Mapping[str, Option], lab: Lab) -> Model:
        """Return what it makes of a network.

        Args:
            model: Not changed. On the file, ``model.module`` is what the file was exported from, as long as that
                is so.
            options: Options of its own choices, by their names.
            lab: What it may use.

        Raises:
            ExportError: it can't be done; one sentence says why.
        """


@final
@dataclass(frozen=True, init=False)
class Pipeline:
    """Passes in a row: those on the module, then those on the file.

    Args:
        passes: In order.
        name: Name of what comes out, for file names and tables; the passes' names with a hyphen between them unless
            given.

    Raises:
        StudyError: something is no pass, a pass on the module stands behind one on the file, two passes or choices
            have one name, a name can't be a part of a file name, or choices are no space or lack their pass's name.
    """

    passes: tuple[CompressionPass, ...]
    name: str

    def __init__(self, *passes: CompressionPass, name: str = "") -> None:
        for position, made in enumerate(passes):
            wanted = "an instance with name, works_on, trains, choices() and apply(), such as Int8(),"
            check_kind("Pipeline", f"passes[{position}]", made, CompressionPass, wanted)
            check_file_name("a pass", made.name)
        object.__setattr__(self, "passes", passes)
        object.__setattr__(self, "name", name or "-".join(made.name for made in passes))
        self._check_names()
        self._check_order()
        self._check_choices()
        _ = self.space

    def _check_names(self) -> None:
        names = [made.name for made in self.passes]
        if self.passes:
            check_file_name("a pipeline", self.name)
        repeated = [name for name, count in Counter(names).items() if count > 1]
        if repeated:
            raise StudyError(f"two passes of a pipeline are named {repeated[0]!r}: give one another name.")

    def _check_order(self) -> None:
        on_file: CompressionPass | None = None
        for made in self.passes:
            if made.works_on not in ("module", "file"):
                raise StudyError(
                    f"the pass {made.name!r} works on {made.works_on!r}: 'module' or 'file' is expected."
                )
            if made.works_on == "module" and on_file is not None:
                raise StudyError(
                    f"the pass {made.name!r} works on the module and stands behind {on_file.name!r}, which makes a "
                    "file: put it before."
                )
            on_file = made if made.works_on == "file" else on_file

    def _check_choices(self) -> None:
        for made in self.passes:
            space = made.choices()
            if not isinstance(space, SearchSpace):
                raise StudyError(
                    f"choices() of the pass {made.name!r} gives {quote(space)}: a SearchSpace is expected, such as "
                    f"SearchSpace((Choice('{made.name}.bits', (8, 32)),)), or SearchSpace(()) for none."
                )
            for choice in space.choices:
                if not choice.name.startswith(f"{made.name}."):
                    raise StudyError(
                        f"the pass {made.name!r} has a choice named {choice.name!r}: call it "
                        f"'{made.name}.{choice.name}', so that no other choice of a study has its name."
                    )

    @cached_property
    def space(self) -> SearchSpace:
        """The choices of all passes, those of one option too."""
        spaces = [made.choices() for made in self.passes]
        return SearchSpace(
            tuple(choice for space in spaces for choice in space.choices),
            {name: found for space in spaces for name, found in space.conditions.items()},
        )

    @property
    def on_module(self) -> tuple[CompressionPass, ...]:
        """The passes on the module, which come first."""
        return tuple(made for made in self.passes if made.works_on == "module")

    @property
    def file_name(self) -> str:
        """What the result of the passes on the file is called beside the float32 file; empty where there are none."""
        return "-".join(made.name for made in self.on_file)

    @property
    def variant_names(self) -> tuple[str, ...]:
        """Names of the files that its passes on the file make of a winner: as searched, and with other options."""
        choices = [
            choice for made in self.on_file for choice in made.choices().choices if len(choice.options) > 1
        ]
        others = (name_variant(choice.name, option) for choice in choices for option in choice.options)
        return (self.file_name, *others) if self.on_file else ()

    @property
    def on_file(self) -> tuple[CompressionPass, ...]:
        """The passes on the file."""
        return tuple(made for made in self.passes if made.works_on == "file")


def name_variant(choice: str, option: Option) -> str:
    """Return what the file is called that is made with an option of a choice which wasn't the searched one."""
    return f"{choice.replace('.', '-')}-{option}"


def as_pipeline(made: CompressionPass | Pipeline) -> Pipeline:
    """Return a pass as a pipeline of its name."""
    return made if isinstance(made, Pipeline) else Pipeline(made)


def options_for(made: CompressionPass, options: Mapping[str, Option]) -> dict[str, Option]:
    """Return a pass's own options among those of a whole space."""
    return {choice.name: options[choice.name] for choice in made.choices().choices}
