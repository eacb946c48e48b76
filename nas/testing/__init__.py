"""Contract suites: what every part that a user brings must do. Our own parts pass through the same ones.

Call them from a test of your own::

    from nas.testing import check_surrogate
    from surrogates.my_forest import MyForest


    def test_my_forest_keeps_the_contract() -> None:
        check_surrogate(MyForest)

A broken promise is an ``AssertionError`` that says which. No test framework is needed.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from nas.choices import Choice, Expression, Option, choice
from nas.evaluation import NetworkCounter, OnnxCandidate, SubnetCandidate
from nas.evaluation.counts import count_macs, count_params
from nas.evaluation.from_scratch import fresh_network
from nas.evaluation.onnx_export import export_onnx
from nas.objective import Measurement, Objective
from nas.protocols import (
    Bench,
    CompressionPass,
    CountedObjective,
    Counts,
    DataSource,
    MeasuredObjective,
    Split,
    SupernetTraining,
)
from nas.space import Architecture, SearchSpace
from nas.supernet import Supernet, elastic, recalibrate
from nas.supernet.elastic import ElasticLayer, Repeat
from nas.testing.strategies import check_strategy, toy_evaluate, toy_problem
from nas.testing.surrogates import check_surrogate
from nas.training import Recipe, Step

__all__ = [
    "check_compression_pass",
    "check_counted_objective",
    "check_data_source",
    "check_measured_objective",
    "check_network",
    "check_strategy",
    "check_supernet_training",
    "check_surrogate",
    "toy_evaluate",
    "toy_problem",
]

_TOLERANCE = 1e-5
_MAX_ENUMERATED = 20_000


def check_network(
    make: Callable[[], nn.Module],
    image_shape: tuple[int, ...],
    num_classes: int,
    *,
    num_random: int = 10,
    num_tokens: int | None = None,
    seed: int = 0,
) -> None:
    """Check a network with choices, as a file in ``search_spaces`` makes it.

    Made twice it has the same space; every option fits the images; an extracted subnet equals the active
    one after recalibration and is plain torch; MACs and parameters equal torch's own count; the
    cardinality equals an enumeration where that is small; and every option changes something.

    Args:
        make: Makes the network.
        image_shape: Channels, height and width that it must work on, or the shape of another input.
        num_classes: Size of its output.
        num_random: Random architectures to try, beside the largest and the smallest.
        num_tokens: For a network that takes token ids: ids are smaller than this.
        seed: Of weights, images and random architectures.

    Raises:
        AssertionError: a promise is broken.
        NasError: the space is not valid, or some option doesn't fit.
    """
    supernet = fresh_network(make, seed).eval()
    space = supernet.space
    assert space.describe() == Supernet(make()).space.describe(), "made twice, the network has another space"
    images = _random_inputs(image_shape, num_tokens, seed)
    supernet.check_shapes(image_shape, num_classes, images.dtype)
    rng = np.random.default_rng(seed)
    architectures = [space.largest(), space.smallest(), *(space.sample(rng) for _ in range(num_random))]
    for architecture in architectures:
        _check_extracted(supernet, architecture, images)
    counter = NetworkCounter(supernet, image_shape, images.dtype)
    _check_counts(supernet, counter, [*architectures, *supernet.probes()], images)
    _check_cardinality(space)
    _check_options_used(supernet, counter, architectures, images)


def _random_inputs(shape: tuple[int, ...], num_tokens: int | None, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    if num_tokens is None:
        return torch.randn(16, *shape, generator=generator)
    return torch.randint(1, num_tokens, (16, *shape), generator=generator)


def _check_extracted(supernet: Supernet, architecture: Architecture, images: Tensor) -> None:
    plain = supernet.extract(architecture)
    for path, module in plain.named_modules():
        elastic = isinstance(module, ElasticLayer | Repeat)
        assert not elastic, f"{architecture}: the extracted module {path!r} is still elastic"
        left = [name for name, value in vars(module).items() if isinstance(value, Expression)]
        assert not left, f"{architecture}: {left} of the extracted module {path!r} are still choices"
    recalibrate(plain, [images])
    with torch.no_grad(), supernet.active(architecture):
        recalibrate(supernet, [images])
        expected = supernet(images)
        got = plain(images)
    gap = float((expected - got).abs().max())
    allowed = _TOLERANCE * max(1.0, float(expected.abs().max()))
    assert gap <= allowed, f"{architecture}: extracted and active subnet differ by {gap}"


def _check_counts(
    supernet: Supernet,
    counter: NetworkCounter,
    architectures: Sequence[Architecture],
    images: Tensor,
) -> None:
    counts = counter.counts(supernet.space.indices(architectures))
    for row, architecture in enumerate(architectures):
        module = supernet.extract(architecture).to("meta").eval()
        expected = (count_macs(module, tuple(images.shape[1:]), images.dtype), count_params(module))
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
    supernet: Supernet, counter: NetworkCounter, bases: Sequence[Architecture], images: Tensor
) -> None:
    for one in supernet.space.choices:
        for first, second in itertools.pairwise(one.options):
            pairs = [(_with(supernet, a, one, first), _with(supernet, a, one, second)) for a in bases]
            assert any(_differ(supernet, counter, pair, images) for pair in pairs), (
                f"choice {one.name!r}: {first!r} and {second!r} give networks of the same cost and output"
            )


def _with(supernet: Supernet, architecture: Architecture, one: Choice, option: Option) -> Architecture:
    return supernet.space.architecture({**architecture, one.name: option})


def _differ(
    supernet: Supernet, counter: NetworkCounter, pair: tuple[Architecture, Architecture], images: Tensor
) -> bool:
    if pair[0] == pair[1]:
        return False
    counts = counter.counts(supernet.space.indices(pair))
    if counts.macs[0] != counts.macs[1] or counts.num_params[0] != counts.num_params[1]:
        return True
    outputs = []
    for architecture in pair:
        with torch.no_grad(), supernet.active(architecture):
            recalibrate(supernet, [images])
            outputs.append(supernet(images))
    return not torch.equal(outputs[0], outputs[1])


def check_data_source(source: DataSource) -> None:
    """Check a data source.

    Loading twice gives the same splits; the parts fit each other in shape and dtype, hold finite inputs
    and valid labels, and train and search hold every class.

    Args:
        source: Loads the data.

    Raises:
        AssertionError: a promise is broken.
    """
    splits, again = source.load(), source.load()
    assert splits.fingerprint == again.fingerprint, "loading twice gives other data"
    channels = splits.image_shape[0] if len(splits.image_shape) == 3 else 0
    assert len(splits.mean) == len(splits.std) == channels, "mean and std must have one number per channel"
    assert splits.dtype in (torch.float32, torch.int64), (
        f"inputs are {splits.dtype}: float32 or int64 is expected"
    )
    for name in ("train", "search", "test"):
        part: Split = getattr(splits, name)
        assert len(part) > 0, f"{name} is empty"
        assert part.labels.dtype == torch.int64, f"{name}: labels must be int64"
        assert part.images.shape == (len(part), *splits.image_shape), f"{name}: images have another shape"
        for batch in part.batches(1024):
            assert batch.dtype == splits.dtype, f"{name}: inputs are {batch.dtype}, expected {splits.dtype}"
            assert bool(batch.isfinite().all()), f"{name}: a value is not finite"
        inside = (part.labels >= 0) & (part.labels < splits.num_classes)
        assert bool(inside.all()), f"{name}: a label is not in [0, {splits.num_classes})"
        if name != "test":
            assert len(part.labels.unique()) == splits.num_classes, f"{name} lacks a class"


def check_counted_objective(objective: CountedObjective) -> None:
    """Check a counted objective: a pure function of the counts, one finite value per architecture.

    Args:
        objective: To check.

    Raises:
        AssertionError: a promise is broken.
    """
    macs = np.array([1, 10_000, 3_000_000_000, 10_000, 77], dtype=np.int64)
    num_params = np.array([1, 500, 70_000_000_000, 500, 77], dtype=np.int64)
    values = objective.count(Counts(macs.copy(), num_params.copy()))
    assert isinstance(objective.objective, Objective), "objective.objective must be a nas.Objective"
    assert values.shape == (5,), f"count() gives shape {values.shape} for 5 architectures, expected (5,)"
    assert np.isfinite(values).all(), f"count() gives {values}: every value must be finite"
    assert values[1] == values[3], "equal counts must give equal values"
    counts = Counts(macs.copy(), num_params.copy())
    assert np.array_equal(objective.count(counts), values), "count() must be a pure function"
    untouched = np.array_equal(counts.macs, macs) and np.array_equal(counts.num_params, num_params)
    assert untouched, "count() changes the counts it is given"
    alone = [objective.count(Counts(macs[[row]], num_params[[row]])) for row in range(5)]
    shapes = {value.shape for value in alone}
    assert shapes == {(1,)}, f"count() gives shapes {shapes} for one architecture, expected (1,)"
    assert np.array_equal(np.concatenate(alone), values), "a value must not depend on the other architectures"


def check_measured_objective(
    objective: MeasuredObjective,
    *,
    image_shape: tuple[int, int, int] = (3, 16, 16),
    num_classes: int = 10,
    candidates: Sequence[Callable[[], nn.Module]] = (),
) -> None:
    """Check a measured objective.

    ``calibrate`` returns JSON that still serves after being stored; ``measure`` returns one finite
    measurement per candidate, in order, with the objective's own unit, brief and thorough.

    Args:
        objective: To check.
        image_shape: Of the images it is given.
        num_classes: Of their labels.
        candidates: Make networks to measure; without any, two small ones of the suite.

    Raises:
        AssertionError: a promise is broken.
    """
    calibration = objective.calibrate()
    stored = json.loads(json.dumps(calibration, allow_nan=False))
    assert stored == calibration, f"calibrate() gives {calibration}: JSON doesn't keep it"
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(24, *image_shape, generator=generator)
    split = Split(images, torch.arange(24) % num_classes)
    makers = candidates or [partial(_small_network, image_shape[0], width, num_classes) for width in (2, 8)]
    networks = [SubnetCandidate(make(), image_shape) for make in makers]
    for thorough in (False, True):
        bench = Bench(split, thorough, stored)
        _check_measurements(objective, objective.measure(networks, bench), len(networks))
        _check_measurements(objective, objective.measure(networks[:1], bench), 1)


def _check_measurements(objective: MeasuredObjective, got: list[Measurement], count: int) -> None:
    assert len(got) == count, f"measure() gives {len(got)} measurements for {count} candidates"
    for measurement in got:
        measurement.checked(objective.objective.name)
        unit = objective.objective.unit
        assert measurement.unit == unit, f"a measurement has unit {measurement.unit!r}, expected {unit!r}"
        assert measurement.spread >= 0, f"a spread is negative: {measurement}"
        assert measurement.repeats >= 1, f"a measurement without observations: {measurement}"
        again = Measurement(**json.loads(json.dumps(measurement.to_json())))
        assert again == measurement, f"{measurement} doesn't survive being stored"


def check_supernet_training(training: SupernetTraining) -> None:
    """Check that a recipe trains what it is given, in steps that depend on the generator alone.

    The weights may change by the gradients of its losses and in no other way.
    """
    assert isinstance(training, SupernetTraining), f"{training!r} has no phases()"
    assert " at 0x" not in repr(training), "repr must tell the settings: make it a frozen dataclass"
    recipe = Recipe(epochs=8, batch_size=4)
    supernet = fresh_network(_elastic_network, 0)
    before = {name: value.clone() for name, value in supernet.named_parameters()}
    phases = training.phases(supernet, recipe)
    assert sum(phase.recipe.epochs for phase in phases) in (0, recipe.epochs), (
        "phases must share out the epochs"
    )
    generator = torch.Generator().manual_seed(1)
    images, labels = torch.randn(4, 1, 8, 8, generator=generator), torch.tensor([0, 1, 2, 0])
    for phase in phases:
        step = phase.step()
        runs = [_losses(step, images, labels), _losses(step, images, labels)]
        assert runs[0], f"the step of phase {phase.name!r} yields no loss"
        assert runs[0] == runs[1], f"phase {phase.name!r} draws from something else than the generator"
        assert supernet.architecture == supernet.space.largest(), (
            "a step must leave the active subnet as it was"
        )
    for name, value in supernet.named_parameters():
        assert torch.equal(value, before[name]), f"a step changed {name} itself: the training loop does that"


def _elastic_network() -> nn.Module:
    width = choice("width", 2, 4)
    return nn.Sequential(
        elastic.Conv2d(1, width, choice("kernel", 1, 3), padding="same"),
        elastic.BatchNorm2d(width),
        elastic.Repeat(lambda _: elastic.Conv2d(width, width, 1), times=choice("depth", 0, 1)),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        elastic.Linear(width, 3),
    )


def _losses(step: Step, images: Tensor, labels: Tensor) -> list[float]:
    losses = []
    for loss in step(images, labels, torch.Generator().manual_seed(2)):
        assert loss.ndim == 0, "a step must yield scalars"
        assert bool(loss.isfinite()), "a step must yield finite losses"
        loss.backward()
        losses.append(loss.item())
    return losses


def check_compression_pass(
    compression: CompressionPass,
    folder: Path,
    *,
    image_shape: tuple[int, int, int] = (3, 16, 16),
    num_classes: int = 10,
) -> None:
    """Check a compression pass.

    It writes the target and nothing beside it, leaves the source as it is, and ONNX Runtime runs the
    result on any batch size with finite outputs of the same shape.

    Args:
        compression: To check.
        folder: An empty directory to write to.
        image_shape: Of the images.
        num_classes: Size of the output.

    Raises:
        AssertionError: a promise is broken.
        ExportError: ONNX Runtime refuses the result.
    """
    plain_name = compression.name and not set(compression.name) & set("/\\. ")
    assert plain_name, f"{compression.name!r} can't be a part of a file name"
    source, target = folder / "model.onnx", folder / f"model.{compression.name}.onnx"
    content = export_onnx(_small_network(image_shape[0], 8, num_classes), image_shape)
    source.write_bytes(content)
    images = torch.randn(70, *image_shape, generator=torch.Generator().manual_seed(0))
    compression.apply(source, target, Split(images, torch.arange(70) % num_classes))
    assert target.is_file(), f"{compression.name} wrote no {target.name}"
    assert source.read_bytes() == content, f"{compression.name} changes its source"
    beside = {path.name for path in folder.iterdir()} - {source.name, target.name}
    assert not beside, f"{compression.name} leaves {sorted(beside)} behind"
    before, after = OnnxCandidate(source), OnnxCandidate(target)
    for count in (1, 5, 70):
        expected, got = before.predict(images[:count]), after.predict(images[:count])
        assert got.shape == expected.shape, f"the output has shape {tuple(got.shape)} for {count} images"
        assert bool(got.isfinite().all()), "an output is not finite"


def _small_network(channels: int, width: int, num_classes: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, groups=width),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(width, num_classes),
        ).eval()
