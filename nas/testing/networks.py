"""The contract of a network with choices in it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from nas.choices import Choice, Expression, Option
from nas.evaluation import NetworkCounter
from nas.evaluation.counts import count_macs, count_params
from nas.evaluation.from_scratch import fresh_network
from nas.inputs import Form, Inputs, InputSpec, as_spec, call_network, map_inputs
from nas.space import Architecture, SearchSpace
from nas.supernet import Supernet, recalibrate
from nas.supernet.elastic import ElasticLayer, Repeat
from nas.task import Task

_TOLERANCE = 1e-5
_MAX_ENUMERATED = 20_000


def check_network(
    make: Callable[[], nn.Module],
    form: Form,
    task: Task,
    targets: Tensor | None = None,
    *,
    num_random: int = 10,
    num_tokens: int | None = None,
    seed: int = 0,
) -> None:
    """Check a network with choices, as a file in ``search_spaces`` makes it.

    Made twice it has the same space; every option fits the inputs; an extracted subnet equals the active
    one after recalibration and is plain torch; MACs and parameters equal torch's own count; the
    cardinality equals an enumeration where that is small; and every option changes something.

    Args:
        make: Makes the network.
        form: What it takes.
        task: What it is for.
        targets: ``(1, *)`` of an item; a single class unless given.
        num_random: Random architectures to try, beside the largest and the smallest.
        num_tokens: For a network that takes token ids: ids are smaller than this.
        seed: Seed of weights, inputs and random architectures.

    Raises:
        AssertionError: a promise is broken.
        NasError: the space is not valid, or some option doesn't fit.
    """
    supernet = fresh_network(make, seed).eval()
    space = supernet.space
    assert space.describe() == Supernet(make()).space.describe(), "made twice, the network has another space"
    spec = as_spec(form)
    inputs = _random_inputs(spec, num_tokens, seed)
    supernet.check_shapes(spec, task, targets)
    rng = np.random.default_rng(seed)
    architectures = [space.largest(), space.smallest(), *(space.sample(rng) for _ in range(num_random))]
    for architecture in architectures:
        _check_extracted(supernet, architecture, inputs)
    counter = NetworkCounter(supernet, spec)
    _check_counts(supernet, counter, [*architectures, *supernet.probes()], spec)
    _check_cardinality(space)
    _check_options_used(supernet, counter, architectures, inputs)


def _random_inputs(spec: InputSpec, num_tokens: int | None, seed: int) -> Inputs:
    generator = torch.Generator().manual_seed(seed)

    def fill(blank: Tensor) -> Tensor:
        if blank.is_floating_point():
            return torch.randn(blank.shape, generator=generator)
        assert num_tokens is not None, "num_tokens must say how large ids may be"
        return torch.randint(1, num_tokens, blank.shape, generator=generator)

    return map_inputs(fill, spec.blank(16))


def _check_extracted(supernet: Supernet, architecture: Architecture, inputs: Inputs) -> None:
    plain = supernet.extract(architecture)
    for path, module in plain.named_modules():
        elastic = isinstance(module, ElasticLayer | Repeat)
        assert not elastic, f"{architecture}: the extracted module {path!r} is still elastic"
        left = [name for name, value in vars(module).items() if isinstance(value, Expression)]
        assert not left, f"{architecture}: {left} of the extracted module {path!r} are still choices"
    recalibrate(plain, [inputs])
    with torch.no_grad(), supernet.active(architecture):
        recalibrate(supernet, [inputs])
        expected = call_network(supernet, inputs)
        got = call_network(plain, inputs)
    gap = float((expected - got).abs().max())
    allowed = _TOLERANCE * max(1.0, float(expected.abs().max()))
    assert gap <= allowed, f"{architecture}: extracted and active subnet differ by {gap}"


def _check_counts(
    supernet: Supernet,
    counter: NetworkCounter,
    architectures: Sequence[Architecture],
    spec: InputSpec,
) -> None:
    counts = counter.counts(supernet.space.indices(architectures))
    for row, architecture in enumerate(architectures):
        module = supernet.extract(architecture)
        expected = (count_macs(module, spec), count_params(module))
        got = (int(counts.macs[row]), int(counts.num_params[row]))
        assert got == expected, f"{architecture}: MACs and parameters are {expected}, counted {got}"


def _check_cardinality(space: SearchSpace) -> None:
    if math.prod(space.num_options.tolist()) > _MAX_ENUMERATED:
        return
    every = np.array(list(itertools.product(*map(range, space.num_options))), dtype=np.int64)
    different = {architecture.id for architecture in space.from_indices(every)}
    assert len(different) == space.cardinality(), (
        f"the space has {len(different)} different architectures, cardinality() says {space.cardinality()}"
    )


def _check_options_used(
    supernet: Supernet, counter: NetworkCounter, bases: Sequence[Architecture], inputs: Inputs
) -> None:
    for one in supernet.space.choices:
        for first, second in itertools.pairwise(one.options):
            pairs = [(_with(supernet, a, one, first), _with(supernet, a, one, second)) for a in bases]
            assert any(_differ(supernet, counter, pair, inputs) for pair in pairs), (
                f"choice {one.name!r}: {first!r} and {second!r} give networks of the same cost and output"
            )


def _with(supernet: Supernet, architecture: Architecture, one: Choice, option: Option) -> Architecture:
    return supernet.space.architecture({**architecture, one.name: option})


def _differ(
    supernet: Supernet, counter: NetworkCounter, pair: tuple[Architecture, Architecture], inputs: Inputs
) -> bool:
    if pair[0] == pair[1]:
        return False
    counts = counter.counts(supernet.space.indices(pair))
    if counts.macs[0] != counts.macs[1] or counts.num_params[0] != counts.num_params[1]:
        return True
    outputs = []
    for architecture in pair:
        with torch.no_grad(), supernet.active(architecture):
            recalibrate(supernet, [inputs])
            outputs.append(call_network(supernet, inputs))
    return not torch.equal(outputs[0], outputs[1])
