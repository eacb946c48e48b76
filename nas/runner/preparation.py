"""Makes and checks everything that a run needs before anything expensive is done."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, final

import torch
from torch import nn

from nas.checks import failing_as
from nas.data.loading import load_splits
from nas.errors import StudyError
from nas.evaluation import LatencyMs, NetworkCounter, SubnetCandidate
from nas.evaluation.quality.measuring import MeasuredQuality
from nas.files import file_digest
from nas.objectives import AnyObjective, CountedObjective, Counts, MeasuredObjective
from nas.runner.counting import StudyCounter
from nas.runner.initial_weights import find_weights, take_weights
from nas.runner.network import check_ids, check_learns, check_quality, make_network
from nas.runner.problem import check_feasible, feasible_architecture, make_sampler, problem_of
from nas.space import Architecture, IntArray
from nas.splits import Splits
from nas.strategy import Problem
from nas.study import Study, network_reference, stable_repr
from nas.supernet import Supernet
from nas.supernet.recalibrate import ITEMS
from nas.task import Quality
from nas.training import Recipe
from nas.training.depth import StochasticDepth
from nas.training.ranks import ALONE, Ranks, own_device

_MEND_COPIED = "let it hold what copy.deepcopy can copy, and its forward use torch's functions alone"


@final
@dataclass(frozen=True)
class Prepared:
    """A study, ready to run.

    Args:
        study: As written, but for weights that a function makes: their file is there.
        splits: Loaded.
        supernet: Supernet with the weights of ``study.weights``, or random ones of the study's seed.
        counting: Counts the study's architectures.
        problem: What the strategy sees.
        measured: The measured objectives, in the study's order.
        training_device: For training and for the supernet's evaluation.
    """

    study: Study
    splits: Splits
    supernet: Supernet
    counting: StudyCounter
    problem: Problem
    measured: tuple[MeasuredObjective, ...]
    training_device: torch.device

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

        It does where the latency of every candidate is measured, and on the CPU: there is an exported model then
        anyway, and it is faster. Where most latencies are predicted, an export is dearer than what it saves.
        """
        measured = any(isinstance(o, LatencyMs) and o.measurements is None for o in self.measured)
        return self.training_device.type == "cpu" and measured

    def candidate(self, module: nn.Module) -> SubnetCandidate:
        """Return a plain module as it is evaluated in this study, always by the same engine."""
        return SubnetCandidate(module, self.splits.inputs, runs_exported=self.runs_exported)

    @property
    def counter(self) -> NetworkCounter:
        """Counts the architectures of the supernet, without choices of training and passes."""
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


def prepare(study: Study, training_device: torch.device, ranks: Ranks = ALONE) -> Prepared:
    """Load the data, build the network, and check that they fit.

    Args:
        study: Initial weights that its function makes are made last, by rank 0.
        training_device: For training and for the supernet's evaluation.
        ranks: The processes that prepare together.

    Raises:
        DataError: the data is not valid.
        SpaceError: the network's choices are not valid.
        ShapeError: some choice doesn't fit the images.
        InfeasibleError: no architecture meets the constraints.
        StudyError: the device can't do a recipe's precision, the network has no blocks that a recipe could leave out or
            can't take the data's ids, or the initial weights can't be made or read.
    """
    _check_recipes_device(study, training_device)
    _check_files(study)
    splits = load_splits(study.data)
    supernet = make_network(study)
    counting = StudyCounter(study, supernet.space, _check_network(study, supernet, splits), len(splits.train))
    problem = problem_of(study, counting)
    _check_problem(study, problem, counting)
    if study.hard_limits:
        supernet.draw = partial(feasible_architecture, problem)
    # Last, because to make them may take hours: whatever else is wrong is heard before.
    weights = find_weights(study, training_device, ranks)
    if weights is not None:
        take_weights(weights, supernet.module)
    study = replace(study, weights=weights)
    measured = tuple(as_measured(o) for o in study.objectives if not isinstance(o, CountedObjective))
    return Prepared(study, splits, supernet, counting, problem, measured, training_device)


def _list_recipes(study: Study) -> list[Recipe]:
    pretraining = None if study.pretraining is None else study.pretraining.recipe
    stated = (study.recipe, study.winners.recipe, study.trust.recipe, pretraining)
    return [recipe for recipe in stated if recipe is not None]


def _check_recipes_device(study: Study, training_device: torch.device) -> None:
    for recipe in _list_recipes(study):
        recipe.check_device(training_device)


def _check_network(study: Study, supernet: Supernet, splits: Splits) -> NetworkCounter:
    """Refuse a network that doesn't fit its recipes, data or qualities; return what counts its architectures."""
    for recipe in _list_recipes(study):
        StochasticDepth(supernet, recipe.stochastic_depth)  # raises where there are no blocks to leave out
    macs = supernet.check_shapes(splits.inputs, splits.task, splits.train.targets[:1])
    check_quality(study, supernet, splits)
    check_ids(supernet, splits)
    fault = f"the network of study {study.name!r} can't be copied and counted"
    with failing_as(StudyError, fault, _MEND_COPIED):
        counter = NetworkCounter(supernet, splits.inputs, macs)
    check_learns(study, supernet, splits)
    return counter


def _check_problem(study: Study, problem: Problem, counting: StudyCounter) -> None:
    """Check counts, constraints and strategy, so that their faults are reported now and not after the training."""
    space = problem.space
    problem.infeasibility(space.indices([space.smallest(), space.largest()]))
    check_feasible(problem, study.hard_limits, counting)
    make_sampler(study, problem)


def _check_files(study: Study) -> None:
    for path in () if study.pretraining is None else study.pretraining.files:
        if not path.is_file():
            raise StudyError(
                f"the pretraining of study {study.name!r} reads {path}, which is no file: name one that is there."
            )


def as_measured(objective: AnyObjective) -> MeasuredObjective:
    """Return an objective that isn't counted as one that is measured."""
    assert not isinstance(objective, CountedObjective)
    return MeasuredQuality(objective) if isinstance(objective, Quality) else objective


def choose_training_device(name: str) -> torch.device:
    """Return the torch device of that name; each process that torchrun starts has a GPU of its own.

    Raises:
        StudyError: torch doesn't know it, or this machine has none.
    """
    advice = "use cpu, or cuda on a machine with a GPU and its driver"
    with failing_as(StudyError, f"the training device {name!r} can't be used", advice):
        training_device = own_device(torch.device(name))
        if training_device.type == "meta":
            raise StudyError(
                f"the training device 'meta' can't be used, because it holds no numbers: {advice}."
            )
        if (
            torch.zeros(2, device=training_device).add(1).sum().item() != 2
        ):  # not every device that allocates calculates
            raise StudyError(
                f"the training device {name!r} can't be used, because it calculates wrongly: {advice}."
            )
    return training_device
