"""Everything a run needs, made and checked before anything is paid for."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from optuna.samplers import BaseSampler
from torch import nn

from nas.checks import check_kind, failing_as, quote
from nas.data.loading import load_splits
from nas.errors import InfeasibleError, StudyError, one_line
from nas.evaluation import LatencyMs, NetworkCounter, SubnetCandidate
from nas.evaluation.costs import count_costs
from nas.evaluation.from_scratch import fresh_network
from nas.evaluation.quality.measuring import MeasuredQuality, statistics_of
from nas.export.folder import read_weights
from nas.files import file_digest
from nas.inputs import as_tuple, call_network
from nas.objective import relative_excess
from nas.objectives import AnyObjective, CountedObjective, Counts, MeasuredObjective
from nas.runner.counting import StudyCounter
from nas.search.models.designs import downhill, draw_tilted_samples
from nas.space import Architecture, FloatArray, IntArray
from nas.splits import Splits
from nas.strategy import Problem
from nas.study import Study, network_reference, stable_repr
from nas.supernet import Supernet
from nas.supernet.recalibrate import ITEMS
from nas.task import Quality
from nas.training.depth import StochasticDepth
from nas.training.ranks import ALONE, Ranks, own_device

_DRAWN_AT_ONCE = 16
_MEND_NETWORK = (
    "mend it; sizes that are choices go to layers of nas.supernet.elastic, torch's own layers take numbers"
)
_MEND_COPIED = "let it hold what copy.deepcopy can copy, and its forward use torch's functions alone"
_MEND_FORWARD = "let its forward use torch's functions alone, without numpy(), item(), detach() and no_grad()"


@final
@dataclass(frozen=True)
class Prepared:
    """A study, ready to run.

    Args:
        study: As written, but for weights that a function makes: their file is there.
        splits: Loaded.
        supernet: With the weights of ``study.weights``, or random ones of the study's seed.
        counting: Counts the study's architectures.
        problem: What the strategy sees.
        measured: The measured objectives, in the study's order.
        device: For training and for the supernet's evaluation.
    """

    study: Study
    splits: Splits
    supernet: Supernet
    counting: StudyCounter
    problem: Problem
    measured: tuple[MeasuredObjective, ...]
    device: torch.device

    def description(self) -> dict[str, Any]:
        """Return what must not change while the run directory is used, as plain values."""
        study = self.study
        return {
            "study": study.name,
            "space": self.problem.space.describe(),
            "network": network_reference(study.network),
            "data": self.splits.fingerprint,
            "values": [asdict(objective) for objective in self.problem.objectives],
            "objectives": [stable_repr(objective) for objective in study.objectives],
            "constraints": [stable_repr(constraint) for constraint in study.constraints],
            "recipe": study.recipe.fingerprint,
            "training": stable_repr(study.training),
            "weights": self.weights_digest(),
            # None where there is none, as in runs from before there could be one.
            "pretraining": self.describe_pretraining() or None,
            "proxy": stable_repr(study.proxy),
            "zero_cost": None if study.zero_cost is None else stable_repr(study.zero_cost),
            # None for the usual number, which runs from before it could be stated have.
            "recalibration": None if study.recalibration == ITEMS else study.recalibration,
            "pipeline": stable_repr(study.pipeline) if study.pipeline.passes else None,
            "strategy": stable_repr(study.strategy),
            "seed": study.seed,
            # None where there is none, as in runs from before there could be one.
            "prior": list(study.prior) or None,
        }

    def describe_pretraining(self) -> list[str]:
        """Return what the pre-training is made with besides the data; [] where there is none."""
        how = self.study.pretraining
        return [] if how is None else [stable_repr(how), *map(file_digest, how.files)]

    @property
    def counted(self) -> tuple[CountedObjective, ...]:
        """The counted objectives, in the study's order."""
        return tuple(o for o in self.study.objectives if isinstance(o, CountedObjective))

    @property
    def runs_exported(self) -> bool:
        """Whether ONNX Runtime answers for the quality in the search, and PyTorch doesn't.

        It does where a latency is measured on the CPU: there is an exported model then anyway, and it is faster.
        """
        return self.device.type == "cpu" and any(isinstance(o, LatencyMs) for o in self.measured)

    def candidate(self, module: nn.Module) -> SubnetCandidate:
        """Return a plain module as it is judged in this study, always by the same engine."""
        return SubnetCandidate(module, self.splits.inputs, runs_exported=self.runs_exported)

    @property
    def counter(self) -> NetworkCounter:
        """Of the supernet alone."""
        return self.counting.network

    def network_of(self, architecture: Architecture) -> Architecture:
        """Return the part of an architecture that the supernet is cut by; the rest is how to train and compress it."""
        own = self.supernet.space
        return own.architecture({choice.name: architecture[choice.name] for choice in own.choices})

    def counts(self, indices: IntArray) -> Counts:
        """Return counts of ``(n, num_choices)`` positions before any pass."""
        return self.counting.counts(indices)

    def weights_digest(self) -> str | None:
        """Return the SHA-256 of the initial weights' file; None where the study names none."""
        path = self.study.weights
        assert path is None or isinstance(path, Path)
        return None if path is None else file_digest(path)


def prepare(study: Study, device: torch.device, ranks: Ranks = ALONE) -> Prepared:
    """Load the data, build the network, and check that they fit.

    Args:
        study: Initial weights that its function makes are made last, by rank 0.
        device: For training and for the supernet's evaluation.
        ranks: The processes that prepare together.

    Raises:
        DataError: the data is not valid.
        SpaceError: the network's choices are not valid.
        ShapeError: some choice doesn't fit the images.
        InfeasibleError: no architecture meets the constraints.
        StudyError: the device can't do a recipe's precision, the network has no blocks that a recipe could leave out or
            can't take the data's ids, or the initial weights can't be made or read.
    """
    pretraining = None if study.pretraining is None else study.pretraining.recipe
    stated = (study.recipe, study.winners.recipe, study.trust.recipe, pretraining)
    recipes = [recipe for recipe in stated if recipe is not None]
    for recipe in recipes:
        recipe.check_device(device)
    _check_files(study)
    splits = load_splits(study.data)
    supernet = _make_network(study)
    for recipe in recipes:
        StochasticDepth(supernet, recipe.stochastic_depth)  # to hear now if there are no blocks to leave out
    macs = supernet.check_shapes(splits.inputs, splits.task, splits.train.targets[:1])
    check_quality(study, supernet, splits)
    check_ids(supernet, splits)
    with failing_as(
        StudyError, f"the network of study {study.name!r} can't be copied and counted", _MEND_COPIED
    ):
        counter = NetworkCounter(supernet, splits.inputs, macs)
    _check_learns(study, supernet, splits)
    counting = StudyCounter(study, supernet.space, counter, len(splits.train))
    problem = problem_of(study, counting)
    space = problem.space
    problem.infeasibility(space.indices([space.smallest(), space.largest()]))  # to hear now if a count fails
    check_feasible(problem, study.hard_limits, counting)
    if study.hard_limits:
        supernet.draw = partial(feasible_architecture, problem)
    make_sampler(study, problem)  # to hear now, not after the training, if it can't be made
    weights = _initial_weights(study, device, ranks)
    if weights is not None:
        _begin_with(weights, supernet.module)
    study = replace(study, weights=weights)
    measured = tuple(as_measured(o) for o in study.objectives if not isinstance(o, CountedObjective))
    return Prepared(study, splits, supernet, counting, problem, measured, device)


def _check_files(study: Study) -> None:
    for path in () if study.pretraining is None else study.pretraining.files:
        if not path.is_file():
            raise StudyError(
                f"the pretraining of study {study.name!r} reads {path}, which is no file: name one that is there."
            )


def _make_network(study: Study) -> Supernet:
    name = f"the network of study {study.name!r}"
    with failing_as(StudyError, f"{name} can't be made", _MEND_NETWORK):
        supernet = fresh_network(study.network, study.seed)
    parameters = list(supernet.parameters())
    for tensor in [*parameters, *supernet.buffers()]:
        if tensor.is_meta or tensor.layout != torch.strided:
            raise StudyError(
                f"{name} holds a tensor of layout {tensor.layout} on device {tensor.device}: let it hold dense ones, "
                "on the CPU."
            )
    if not any(parameter.requires_grad for parameter in parameters):
        what = "all its parameters are frozen" if parameters else "it has no parameters"
        raise StudyError(
            f"{name} can't be trained, because {what}: set requires_grad on what is to be trained; winners are "
            "fine-tuned also where the supernet is not trained."
        )
    return supernet


def _check_learns(study: Study, supernet: Supernet, splits: Splits) -> None:
    """Refuse a network whose outputs no training would change."""
    name, inputs = f"the network of study {study.name!r}", splits.inputs.blank(1)
    with failing_as(StudyError, f"{name} failed when run with gradients", _MEND_FORWARD), torch.enable_grad():
        output = call_network(supernet.eval(), inputs)
    if not output.requires_grad:
        raise StudyError(
            f"the outputs of {name} don't depend on its parameters as far as torch can see, so that nothing would be "
            f"learned: {_MEND_FORWARD}."
        )


def check_quality(study: Study, supernet: Supernet, splits: Splits) -> None:
    """Refuse qualities that are of another task: that have no statistics of this network's outputs.

    Raises:
        StudyError: one is.
    """
    with torch.no_grad():
        outputs = call_network(supernet.eval(), splits.inputs.blank(1)).float().cpu()
    for objective in study.objectives:
        if isinstance(objective, Quality):
            try:
                statistics_of(objective, outputs, splits.train.targets[:1])
            except Exception as error:  # whatever a user's quality raises
                raise StudyError(
                    f"the quality {objective.objective.name!r} doesn't fit the task {type(splits.task).__name__} of "
                    f"{splits.name} ({one_line(error)}): choose one that is of this task."
                ) from error


def as_measured(objective: AnyObjective) -> MeasuredObjective:
    """Return an objective that isn't counted as one that is measured."""
    assert not isinstance(objective, CountedObjective)
    return MeasuredQuality(objective) if isinstance(objective, Quality) else objective


def problem_of(study: Study, counting: StudyCounter) -> Problem:
    """Return what a strategy sees of a study."""
    free = [o for o in study.objectives if isinstance(o, CountedObjective) and study.knows_ahead(o)]
    turns = threading.Lock()  # samplers count in a thread too, and a network is one architecture at a time

    def count(indices: IntArray) -> dict[str, FloatArray]:
        with turns:
            counts = counting.counts(indices)
        return {o.objective.name: count_costs(o, counts) for o in free}

    def violation(indices: IntArray) -> FloatArray:
        if not study.hard_limits:
            return np.zeros(len(indices))
        with turns:
            counts = counting.counts(indices)
        excess = [
            relative_excess(count_costs(quantity, counts), at_most) for quantity, at_most in study.hard_limits
        ]
        return np.asarray(np.sum(excess, axis=0), dtype=np.float64)

    objectives = tuple(o.objective for o in study.objectives)
    return Problem(counting.space, objectives, count, violation, study.soft_limits)


def make_sampler(study: Study, problem: Problem) -> BaseSampler:
    """Return a new sampler of the study's strategy.

    Raises:
        StudyError: the strategy raised, or made something else.
    """
    what = f"sampler() of the strategy of study {study.name!r}"
    with failing_as(StudyError, f"{what} failed", "mend it"):
        sampler = study.strategy.sampler(problem, study.seed)
    check_kind(what, "result", sampler, BaseSampler, "a sampler of Optuna's")
    return sampler


def _initial_weights(study: Study, device: torch.device, ranks: Ranks) -> Path | None:
    if not callable(study.weights):
        return study.weights
    part, advice = f"the function that makes the weights of study {study.name!r}", "mend it, or name a file"
    with failing_as(StudyError, f"{part} failed", advice):
        made = ranks.after_first(partial(study.weights, device))
    if not isinstance(made, Path):
        raise StudyError(f"{part} returned {quote(made)}: a pathlib.Path is expected.")
    return made


def _begin_with(path: Path, network: nn.Module) -> None:
    try:
        network.load_state_dict(read_weights(path))
    except Exception as error:  # safetensors, torch and the file system each have their own
        reason = one_line(error)
        raise StudyError(
            f"the study's weights {path} don't fit its network ({reason}): name a safetensors file with the "
            "state_dict of network(), or leave weights out."
        ) from error


def check_ids(supernet: Supernet, splits: Splits) -> None:
    """Feed the smallest and the largest id, where inputs are ids: too small an embedding would fail while training.

    Raises:
        StudyError: the network can't take them.
    """
    if not splits.inputs.is_ids:
        return
    ends = [
        part.batch(torch.tensor([int(at) // (tensor.numel() // len(tensor))]))
        for part in (splits.train, splits.search, splits.test, splits.unlabelled)
        if part is not None
        for tensor in as_tuple(part.inputs)
        for at in (tensor.argmin(), tensor.argmax())
    ]
    was_training = supernet.training
    supernet.eval()
    try:
        with supernet.active(supernet.space.largest()), torch.no_grad():
            for inputs in ends:
                call_network(supernet, inputs)
    except Exception as error:  # whatever a user's forward raises
        ids = [tensor for inputs in ends for tensor in as_tuple(inputs)]
        first, last = min(int(tensor.min()) for tensor in ids), max(int(tensor.max()) for tensor in ids)
        raise StudyError(
            f"the network can't take the ids of {splits.name}, from {first} to {last} "
            f"({one_line(error)}): give its embedding a row for each of them, or the data fewer."
        ) from error
    finally:
        supernet.train(was_training)


def check_feasible(
    problem: Problem, limits: Sequence[tuple[CountedObjective, float]], counting: StudyCounter
) -> None:
    """Look for one feasible architecture: the ends, many samples, then downhill from the best of them.

    Raises:
        InfeasibleError: there is none; says what the closest one costs.
    """
    if not limits:
        return
    space = problem.space
    rng = np.random.default_rng(0)
    ends = space.indices([space.smallest(), space.largest()])
    rows = np.concatenate([ends, draw_tilted_samples(problem, 4000, rng)])
    closest, violation = downhill(problem, rows[np.argmin(problem.violation(rows))])
    if violation > 0:
        counts = counting.counts(closest[None])
        found = "; ".join(
            f"{quantity.objective.name} is {count_costs(quantity, counts)[0]:,.0f} and at most {at_most:,.0f} is "
            "asked for"
            for quantity, at_most in limits
        )
        raise InfeasibleError(
            f"no architecture of the space meets the constraints; in the closest one {found}: loosen the "
            "constraints or add smaller options. Nothing was trained."
        )


def feasible_architecture(problem: Problem, rng: np.random.Generator) -> Architecture:
    """Return a random architecture that meets the constraints: drawn uniformly, or led to them where few do."""
    rows = problem.space.sample_indices(_DRAWN_AT_ONCE, rng)
    violations = problem.violation(rows)
    row = rows[violations.argmin()]
    if violations.min() > 0:
        row, _ = downhill(problem, row)
    return problem.space.from_indices(row[None])[0]


def choose_device(name: str) -> torch.device:
    """Return the torch device of that name; each process that torchrun starts has a GPU of its own.

    Raises:
        StudyError: torch doesn't know it, or this machine has none.
    """
    advice = "use cpu, or cuda on a machine with a GPU and its driver"
    with failing_as(StudyError, f"device {name!r} can't be used", advice):
        device = own_device(torch.device(name))
        if device.type == "meta":
            raise StudyError(f"device 'meta' can't be used, because it holds no numbers: {advice}.")
        if (
            torch.zeros(2, device=device).add(1).sum().item() != 2
        ):  # not every device that allocates calculates
            raise StudyError(f"device {name!r} can't be used, because it calculates wrongly: {advice}.")
    return device
