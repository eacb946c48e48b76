"""The contract of a network with choices in it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np
import torch
from torch import Tensor, nn

from nas.choices import Choice, Expression, Option
from nas.evaluation import NetworkCounter
from nas.evaluation.counts import count_macs, count_params
from nas.evaluation.from_scratch import fresh_network
from nas.inputs import Form, Inputs, InputSpec, as_spec, call_network, map_inputs, take_items
from nas.space import Architecture
from nas.supernet import Supernet, recalibrate
from nas.supernet.elastic import ElasticLayer, Repeat
from nas.task import Task
from nas.testing.promises import Contract, Promise

_TOLERANCE = 1e-5
"""Share of the largest output; the active and the extracted subnet may add numbers up in another order."""
_MAX_ENUMERATED = 20_000
"""Architectures; making so many takes about a second."""
_BATCH = 16
"""Items whose statistics batch norm is recalibrated on; fewer would be hardly a batch."""
_TRAINED = 4
"""Items whose loss is looked at: batch norm needs two, and gradients of large images take seconds."""


@Contract
def check_network(
    make: Callable[[], nn.Module],
    form: Form,
    task: Task,
    targets: Tensor | None = None,
    *,
    num_random: int = 10,
    num_tokens: int | None = None,
    seed: int = 0,
) -> Sequence[Promise]:
    """Check a network with choices, as a file in ``search_spaces`` makes it.

    Made twice it has the same space; every option fits the inputs; in training, outputs are as in evaluation and the
    task's loss has finite gradients; an extracted subnet equals the active one after recalibration and is plain torch;
    MACs and parameters equal torch's own count; the cardinality equals an enumeration where that is small; and every
    option changes something.

    Args:
        make: Makes the network.
        form: What it takes.
        task: What it is for.
        targets: ``(1, *)`` of one item, as the data have them, for a task whose outputs have their shape, such as
            segmentation; those of one class, int64 of shape ``(1,)``, unless given.
        num_random: Random architectures to try, beside the largest and the smallest.
        num_tokens: For a network that takes token ids: ids are smaller than this.
        seed: Seed of weights, inputs and random architectures.

    Raises:
        BrokenPromisesError: promises are broken.
    """
    case = _Case(make, as_spec(form), task, targets, num_random, num_tokens, seed)
    return [
        Promise("made twice, it has the same space", case.check_space),
        Promise("every option fits the inputs and the task", case.check_shapes),
        Promise("the largest and the smallest subnet can be trained", case.check_trains),
        Promise("an extracted subnet is plain torch", case.check_plain),
        Promise("an extracted subnet equals the active one", case.check_extracted),
        Promise("MACs and parameters are those that torch counts", case.check_counts),
        Promise("the cardinality is exact", case.check_cardinality),
        Promise("every option changes something", case.check_options_used),
    ]


@final
@dataclass(frozen=True)
class _Case:
    make: Callable[[], nn.Module]
    spec: InputSpec
    task: Task
    targets: Tensor | None
    num_random: int
    num_tokens: int | None
    seed: int

    @cached_property
    def _supernet(self) -> Supernet:
        return fresh_network(self.make, self.seed).eval()

    @cached_property
    def _counter(self) -> NetworkCounter:
        return NetworkCounter(self._supernet, self.spec)

    @cached_property
    def _architectures(self) -> Sequence[Architecture]:
        space, rng = self._supernet.space, np.random.default_rng(self.seed)
        return [space.largest(), space.smallest(), *(space.sample(rng) for _ in range(self.num_random))]

    @cached_property
    def _inputs(self) -> Inputs:
        generator = torch.Generator().manual_seed(self.seed)

        def fill(blank: Tensor) -> Tensor:
            if blank.is_floating_point():
                return torch.randn(blank.shape, generator=generator)
            assert self.num_tokens is not None, "num_tokens must say how large ids may be"
            return torch.randint(1, self.num_tokens, blank.shape, generator=generator)

        return map_inputs(fill, self.spec.blank(_BATCH))

    def check_space(self) -> None:
        again = Supernet(self.make()).space.describe()
        assert self._supernet.space.describe() == again, "made twice, the network has another space"

    def check_shapes(self) -> None:
        self._supernet.check_shapes(self.spec, self.task, self.targets)

    def check_trains(self) -> None:
        targets = torch.zeros(1, dtype=torch.int64) if self.targets is None else self.targets
        targets = torch.cat([targets] * _TRAINED)
        supernet = fresh_network(self.make, self.seed).train()  # another one, because statistics change
        weights = [weight for weight in supernet.parameters() if weight.requires_grad]
        for architecture in self._architectures[: 2 if weights else 0]:
            supernet.zero_grad()
            with supernet.active(architecture), torch.random.fork_rng(devices=[]):
                torch.manual_seed(self.seed)
                outputs = call_network(supernet, take_items(self._inputs, slice(0, _TRAINED)))
                fault = self.task.fault(targets, outputs)
                assert fault is None, f"{architecture}, in training: {fault}"
                self.task.loss(outputs, targets).backward()
            gradients = [weight.grad for weight in weights if weight.grad is not None]
            assert any(gradient.any() for gradient in gradients), f"{architecture}: no weight has a gradient"
            finite = all(bool(gradient.isfinite().all()) for gradient in gradients)
            assert finite, f"{architecture}: a gradient is NaN or infinite"

    def check_plain(self) -> None:
        for architecture in self._architectures:
            for path, module in self._supernet.extract(architecture).named_modules():
                elastic = isinstance(module, ElasticLayer | Repeat)
                assert not elastic, f"{architecture}: the extracted module {path!r} is still elastic"
                left = [name for name, value in vars(module).items() if isinstance(value, Expression)]
                assert not left, f"{architecture}: {left} of the extracted module {path!r} are still choices"

    def check_extracted(self) -> None:
        for architecture in self._architectures:
            plain = self._supernet.extract(architecture)
            recalibrate(plain, [self._inputs])
            with torch.no_grad():
                expected, got = self._active_outputs(architecture), call_network(plain, self._inputs)
            gap = float((expected - got).abs().max())
            allowed = _TOLERANCE * max(1.0, float(expected.abs().max()))
            assert gap <= allowed, f"{architecture}: extracted and active subnet differ by {gap}"

    def check_counts(self) -> None:
        architectures = [*self._architectures, *self._supernet.probes()]
        counts = self._counter.counts(self._supernet.space.indices(architectures))
        for row, architecture in enumerate(architectures):
            module = self._supernet.extract(architecture)
            expected = (count_macs(module, self.spec), count_params(module))
            got = (int(counts.macs[row]), int(counts.num_params[row]))
            assert got == expected, f"{architecture}: MACs and parameters are {expected}, counted {got}"

    def check_cardinality(self) -> None:
        space = self._supernet.space
        if math.prod(space.num_options.tolist()) > _MAX_ENUMERATED:
            return
        every = np.array(list(itertools.product(*map(range, space.num_options))), dtype=np.int64)
        different = {architecture.id for architecture in space.from_indices(every)}
        assert len(different) == space.cardinality(), (
            f"the space has {len(different)} different architectures, cardinality() says {space.cardinality()}"
        )

    def check_options_used(self) -> None:
        for one in self._supernet.space.choices:
            for first, second in itertools.pairwise(one.options):
                pairs = [(self._with(a, one, first), self._with(a, one, second)) for a in self._architectures]
                assert any(self._differ(*pair) for pair in pairs), (
                    f"choice {one.name!r}: {first!r} and {second!r} give networks of the same cost and output"
                )

    def _with(self, architecture: Architecture, one: Choice, option: Option) -> Architecture:
        return self._supernet.space.architecture({**architecture, one.name: option})

    def _differ(self, first: Architecture, second: Architecture) -> bool:
        if first == second:
            return False
        counts = self._counter.counts(self._supernet.space.indices([first, second]))
        if counts.macs[0] != counts.macs[1] or counts.num_params[0] != counts.num_params[1]:
            return True
        return not torch.equal(self._active_outputs(first), self._active_outputs(second))

    @torch.no_grad()
    def _active_outputs(self, architecture: Architecture) -> Tensor:
        """Return what a recalibrated subnet makes of the inputs, in the supernet itself."""
        with self._supernet.active(architecture):
            recalibrate(self._supernet, [self._inputs])
            return call_network(self._supernet, self._inputs)
