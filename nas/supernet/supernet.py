"""A module with choices in it as one network whose weights all architectures share."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn

from nas.checks import quote
from nas.errors import SpaceError
from nas.inputs import Form
from nas.space import Architecture
from nas.supernet.convert import Converted, Report, elastic_module
from nas.supernet.convert.settings import RATIOS
from nas.supernet.fitting import check_shapes, count_macs
from nas.supernet.pretrained import describe
from nas.supernet.probes import list_probes
from nas.supernet.resized import Resized
from nas.supernet.sites import find_sites, plain_copy, space_of
from nas.task import Task

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
        self.space = space_of(self.sites)
        self.draw: Draw = self.space.sample
        self._slots = [slot for site in self.sites for slot in site.slots]
        self._architecture = self.space.largest()
        self.activate(self._architecture)

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

    def activate(self, architecture: Architecture) -> None:
        """Use a canonical architecture from now on; :meth:`active` is the safe way, which undoes it."""
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
        self.activate(self.space.architecture(architecture))
        try:
            yield self
        finally:
            self.activate(previous)

    def extract(self, architecture: Architecture, *, config: bool = True) -> nn.Module:
        """Return the subnet as a plain module with its own weights, in the supernet's mode.

        Elastic layers become layers of ``torch.nn``; all other modules are copied. Batch-norm
        statistics are copied as they are: recalibrate the result before evaluating it. The ``config`` of a network
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

        In a converted module sizes fit each other by construction; see :func:`nas.supernet.probes.list_probes`.
        """
        return list_probes(self.space, sizes_fit=isinstance(self.module, Converted))

    def check_shapes(self, form: Form, task: Task, targets: Tensor | None = None) -> dict[str, int]:
        """Run every probe on one item without content; see :func:`nas.supernet.fitting.check_shapes`.

        Raises:
            ShapeError: shapes don't fit; says in which module, and which choice alone would mend it.
        """
        return check_shapes(self, form, task, targets)

    def count_macs(self, architectures: Iterable[Architecture], form: Form) -> dict[str, int]:
        """Return the multiply-accumulates of one item in each architecture by its id, as torch counts them.

        See :func:`nas.supernet.fitting.count_macs`.
        """
        return count_macs(self, architectures, form)
