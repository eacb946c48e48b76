"""The description of an experiment: one frozen value, written in a Python file."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import torch
from torch import nn

from nas.checks import check_file_name, check_kind, failing_as, is_hub_id, is_utf8, quote
from nas.choices import Option
from nas.compression.pipeline import PLAIN, Pipeline
from nas.errors import StudyError
from nas.evaluation import TrainingMacs
from nas.evaluation.costs import follows_file, follows_passes
from nas.evaluation.from_scratch import EPOCHS_CHOICE, FromScratch
from nas.evaluation.proxy import ProxySubset
from nas.evaluation.zero_cost import ZeroCost
from nas.objective import Objective
from nas.objectives import AnyObjective, Constraint, CountedObjective, MeasuredObjective
from nas.progress import Pretraining
from nas.search.stopping import NEVER, Stopping
from nas.space import SearchSpace
from nas.splits import DataSource
from nas.strategy import MAX_SEED, Strategy, uses_knowledge
from nas.study.after_search import Trust, Winners
from nas.supernet import SandwichRule
from nas.supernet.recalibrate import ITEMS
from nas.supernet.scaling import Scaling
from nas.task import Quality
from nas.training import Recipe
from nas.training.phases import SupernetTraining

CHANGEABLE = ("evaluations", "seed", "device", "objectives", "constraints")
"""What a study may let a user change without editing its file."""

_KINDS: dict[str, tuple[Any, str]] = {
    "name": (str, "a string"),
    "data": (DataSource, "an instance with load(), such as Digits(),"),
    "objectives": (tuple, "a tuple such as (Accuracy(), Macs())"),
    "recipe": (Recipe, "a Recipe such as Recipe(epochs=30)"),
    "strategy": (Strategy, "an instance with sampler(), such as SurrogateSearch(Mixture),"),
    "constraints": (tuple, "a tuple such as (Constraint(Macs(), at_most=1e6),)"),
    "evaluations": (int, "an integer"),
    "recalibration": (int, "an integer"),
    "seed": (int, "an integer"),
    "stopping": (Stopping, "an instance such as Stopping(minutes=60)"),
    "warm_start": (tuple, "a tuple such as ({'width': 16, 'depth': 2},)"),
    "prior": (tuple, "a tuple of run directories such as ('runs/earlier',)"),
    "winners": (Winners, "an instance such as Winners(count=3)"),
    "training": (
        SupernetTraining | FromScratch,
        "one of SandwichRule(), ProgressiveShrinking(), SinglePath(), NoTraining() and FromScratch(), or an instance "
        "with their phases(),",
    ),
    "pretraining": (
        Pretraining | None,
        "an instance with pretext(), such as Contrastive(Recipe(epochs=30)), or None,",
    ),
    "weights": (Path | Callable | None, "a Path, a function that returns one, or None"),
    "proxy": (ProxySubset | None, "an instance such as ProxySubset(), or None,"),
    "zero_cost": (ZeroCost | None, "an instance such as ZeroCost(), or None,"),
    "pipeline": (Pipeline, "an instance such as Pipeline(Int8(bits=(8, 32)))"),
    "trust": (Trust, "an instance such as Trust(), or Trust(count=0) to check the winners alone,"),
    "scaling": (Scaling | None, "an instance such as Scaling(width=('*.width',)), or None,"),
    "intended_use": (str, "a string"),
    "hub_dataset": (str | None, "a string such as 'ylecun/mnist', or None,"),
    "changeable": (tuple, "a tuple such as ('evaluations', 'seed')"),
}

_ITEM_KINDS: dict[str, tuple[Any, str]] = {
    "objectives": (
        AnyObjective,
        "an instance with an objective, and either count(), or calibrate() and measure(), or statistics() and value(), "
        "such as Accuracy(),",
    ),
    "constraints": (Constraint, "an instance such as Constraint(Macs(), at_most=1e6)"),
    "warm_start": (Mapping, "an option for every choice, such as {'width': 16, 'depth': 2},"),
    "prior": (str, "a run directory such as 'runs/earlier'"),
}


@final
@dataclass(frozen=True)
class Study:
    """An experiment, whole.

    Args:
        name: Name of the run directory and the Optuna study; letters, digits, ``-``, ``_`` and ``.``.
        network: Makes the module with choices in it. A ``functools.partial`` of a function in
            ``search_spaces`` lets ``nas.load`` rebuild a winner by itself.
        data: Where the images come from.
        objectives: What to trade off, at least one. The first is the quality: measured on images,
            learned by the surrogate, improved by fine-tuning.
        recipe: How long and how fast the supernet is trained, or each candidate where there is none.
        strategy: How architectures are proposed.
        constraints: Limits: hard ones on counted quantities, soft ones on measured objectives.
        evaluations: How many architectures to evaluate.
        stopping: What ends the search before that.
        warm_start: Known architectures to evaluate first, each with an option for every choice.
        prior: Directories of earlier runs of the same choices, on other data or another device: what they found tells
            the search where to look, as far as it proves right (docs/memory.md).
        pipeline: Passes that every candidate goes through, those that train apart: these are for the winners. Their
            choices are searched together with the network's.
        winners: How many winners, and what is made of them.
        training: Where a candidate's weights come from: how the supernet is trained, or
            ``FromScratch()`` to train every candidate by itself, for a number of epochs that may be a choice too.
        pretraining: What the supernet learns before that, from the items of ``Splits.unlabelled`` or, where there are
            none, from those of train, without their labels; None for nothing.
        weights: A safetensors file with the weights of ``network()``, to begin with; or a function of the training
            device that returns its path, and trains or downloads first what isn't there. A run calls it, listing and
            profiling don't.
        proxy: Evaluate candidates on a part of the search split, as large as ranking needs; None for all.
        zero_cost: Scores of untrained networks, for the search to learn from before it trains candidates from scratch;
            None for none.
        recalibration: Training items that the batch-norm statistics of a subnet are recalibrated on before it is
            evaluated; 0 to evaluate it with those of the supernet, as Xiong 2023 does. Fewer cost less, and do where an
            item has many positions.
        trust: How the supernet's ranking is checked.
        seed: Seed of everything that is random, from 0 to :data:`nas.strategy.MAX_SEED`.
        scaling: Which choices ``nas scale`` grows; None for those that are named ``*width`` and ``*depth``.
        intended_use: A sentence for the model cards.
        hub_dataset: Where the data are on the Hugging Face Hub, as ``owner/name`` or a single name; for the cards.
        changeable: Which of :data:`CHANGEABLE` a user may change on the command line or through the service.

    Raises:
        StudyError: something is missing, of the wrong kind or out of range.
    """

    name: str
    network: Callable[[], nn.Module]
    data: DataSource
    objectives: tuple[AnyObjective, ...]
    recipe: Recipe
    strategy: Strategy
    constraints: tuple[Constraint, ...] = ()
    evaluations: int = 150
    stopping: Stopping = NEVER
    warm_start: tuple[Mapping[str, Option], ...] = ()
    prior: tuple[str, ...] = ()
    pipeline: Pipeline = field(default_factory=Pipeline)
    winners: Winners = field(default_factory=Winners)
    training: SupernetTraining | FromScratch = field(default_factory=SandwichRule)
    pretraining: Pretraining | None = None
    weights: Path | Callable[[torch.device], Path] | None = None
    proxy: ProxySubset | None = None
    zero_cost: ZeroCost | None = None
    recalibration: int = ITEMS
    trust: Trust = field(default_factory=Trust)
    seed: int = 0
    scaling: Scaling | None = None
    intended_use: str = "Research on neural architecture search."
    hub_dataset: str | None = None
    changeable: tuple[str, ...] = CHANGEABLE

    def __post_init__(self) -> None:
        self._check_kinds()
        check_file_name("a study", self.name)
        self._check_objectives()
        self._check_constraints()
        self._check_numbers()
        self._check_words()
        self._check_training()
        self._check_strategy()
        self._check_pipeline()

    def knows_ahead(self, quantity: CountedObjective) -> bool:
        """Whether a counted quantity is known before an architecture is paid for.

        It isn't where passes of the pipeline change it in the search: it is counted on what they make.
        """
        searched = [made for made in self.pipeline.passes if not made.trains]
        if any(made.works_on == "module" for made in searched):
            return not follows_passes(quantity)
        return not searched or not follows_file(quantity)

    @property
    def own_training(self) -> FromScratch | None:
        """How every candidate is trained by itself; None where all share the weights of a supernet."""
        return self.training if isinstance(self.training, FromScratch) else None

    @property
    def knows_training(self) -> bool:
        """Whether it is known before how long each candidate is trained by itself."""
        return self.own_training is not None and self.own_training.hurdles is None

    @property
    def added_space(self) -> SearchSpace:
        """The choices that join those of the network: of the training, then of the pipeline."""
        training = () if self.own_training is None else self.own_training.space.choices
        passes = self.pipeline.space
        return SearchSpace((*training, *passes.choices), passes.conditions)

    def recipe_of(self, architecture: Mapping[str, Option]) -> Recipe:
        """Return the recipe that an architecture is trained with by itself, for as many epochs as it chooses."""
        epochs = architecture.get(EPOCHS_CHOICE, self.recipe.epochs)
        assert isinstance(epochs, int), "options of the choice are integers"
        return dataclasses.replace(self.recipe, epochs=epochs)

    @property
    def hard_limits(self) -> list[tuple[CountedObjective, float]]:
        """The constraints on what is known ahead: each with its largest feasible value."""
        found = [(c.quantity, c.at_most) for c in self.constraints]
        return [
            (quantity, at_most)
            for quantity, at_most in found
            if isinstance(quantity, CountedObjective) and self.knows_ahead(quantity)
        ]

    @property
    def soft_limits(self) -> dict[str, float]:
        """The constraints on objectives that are known only afterwards: the largest feasible value by name."""
        found = [(c.quantity, c.at_most) for c in self.constraints]
        return {
            quantity.objective.name: at_most
            for quantity, at_most in found
            if not (isinstance(quantity, CountedObjective) and self.knows_ahead(quantity))
        }

    def _check_objectives(self) -> None:
        names = [o.objective.name for o in self.objectives]
        if not names:
            raise StudyError(f"study {self.name!r} has no objectives: give it at least one.")
        if len(set(names)) < len(names):
            raise StudyError(f"study {self.name!r} has two objectives of one name in {names}: remove one.")
        for objective in self.objectives:
            kinds = [k for k in (CountedObjective, MeasuredObjective, Quality) if isinstance(objective, k)]
            if len(kinds) > 1:
                raise StudyError(
                    f"objective {objective!r} of study {self.name!r} must have either count(), or calibrate() and "
                    "measure(), or statistics() and value(): see CountedObjective and MeasuredObjective in "
                    "nas.objectives and Quality in nas.task."
                )
        if isinstance(self.objectives[0], CountedObjective):
            raise StudyError(
                f"the first objective of study {self.name!r} is {names[0]!r}, which is counted: put a measured "
                "quality such as Accuracy() first."
            )

    def _check_constraints(self) -> None:
        names = [o.objective.name for o in self.objectives]
        for constraint in self.constraints:
            name, quantity = constraint.quantity.objective.name, constraint.quantity
            is_counted = isinstance(quantity, CountedObjective)
            if name in names or (isinstance(quantity, CountedObjective) and self.knows_ahead(quantity)):
                continue
            known = "known only after the passes of its pipeline" if is_counted else "measured"
            raise StudyError(
                f"study {self.name!r} limits {name!r}, which is {known} but not among its objectives {names}: make it "
                "an objective, or leave the constraint out."
            )

    def _check_numbers(self) -> None:
        if self.evaluations < 1:
            raise StudyError(f"study {self.name!r} has {self.evaluations} evaluations: at least 1 is needed.")
        if self.recalibration < 0:
            raise StudyError(
                f"study {self.name!r} recalibrates on {self.recalibration} items: 0 or more are needed."
            )
        if not 0 <= self.seed <= MAX_SEED:
            raise StudyError(
                f"study {self.name!r} has the seed {self.seed}: it must be from 0 to {MAX_SEED}."
            )

    def _check_words(self) -> None:
        if self.hub_dataset is not None and not is_hub_id(self.hub_dataset):
            raise StudyError(
                f"study {self.name!r} has hub_dataset={self.hub_dataset!r}: give the id of a data set on the Hugging "
                "Face Hub, such as 'ylecun/mnist', or leave it out."
            )
        unknown = [aspect for aspect in self.changeable if aspect not in CHANGEABLE]
        if unknown:
            raise StudyError(
                f"study {self.name!r} declares {unknown} changeable: choose among {list(CHANGEABLE)}."
            )
        if not is_utf8(self.intended_use):
            raise StudyError(f"study {self.name!r} has an intended_use that UTF-8 can't hold: write it anew.")

    def _check_pipeline(self) -> None:
        for made in self.pipeline.passes:
            if made.trains and made.choices().choices:
                raise StudyError(
                    f"the pass {made.name!r} in the pipeline of study {self.name!r} trains, which is left to the "
                    f"winners, so that the search couldn't choose {made.choices().choices[0].name!r}: state one value."
                )
        names = Counter([PLAIN, *self.pipeline.variant_names, *(made.name for made in self.winners.passes)])
        repeated = [name for name, count in names.items() if count > 1]
        if repeated:
            raise StudyError(
                f"study {self.name!r} has two variants of a winner that are named {repeated[0]!r}, at least one of "
                "them of its pipeline: rename a pass."
            )

    def _check_kinds(self) -> None:
        study = f"study {self.name!r}"
        for name, (kind, wanted) in _KINDS.items():
            check_kind(study, name, getattr(self, name), kind, wanted)
        for name, (kind, wanted) in _ITEM_KINDS.items():
            for position, item in enumerate(getattr(self, name)):
                with failing_as(
                    StudyError, f"{study} has an unusable {name}[{position}]", f"{wanted} is expected"
                ):
                    check_kind(study, f"{name}[{position}]", item, kind, wanted)
        for position, item in enumerate(self.objectives):
            wanted = "a nas.Objective, such as Objective('energy_mj', 'mJ', 'minimize'),"
            check_kind(f"objectives[{position}] of {study}", "objective", item.objective, Objective, wanted)
        if not callable(self.network) or isinstance(self.network, nn.Module):
            raise StudyError(
                f"{study} has network={quote(self.network)}: a function that makes the network is expected, not "
                "called, such as network or partial(network, classes=10)."
            )

    def _check_training(self) -> None:
        self._check_training_macs()
        if self.own_training is not None:
            self.own_training.check_recipe(self.recipe.epochs)
            if any(part is not None for part in (self.proxy, self.weights, self.pretraining)):
                raise StudyError(
                    f"study {self.name!r} trains its candidates from scratch: proxy, weights and pretraining are for "
                    "studies with a supernet, leave them out."
                )
        elif self.recipe.reduced_space:
            raise StudyError(
                f"study {self.name!r} has a supernet whose recipe has reduced_space=True, which would change layers "
                "that subnets share: give it training=FromScratch(), or state it in the winners' recipe alone."
            )
        elif self.zero_cost is not None:
            raise StudyError(
                f"study {self.name!r} has zero_cost and a supernet, which evaluates a candidate as cheaply: leave "
                "zero_cost out, or give it training=FromScratch()."
            )
        if self.proxy is not None and not isinstance(self.objectives[0], Quality):
            raise StudyError(
                f"study {self.name!r} has a proxy and its quality {self.objectives[0].objective.name!r} is measured as "
                "a whole: give it a quality with statistics(), such as Accuracy(), or leave the proxy out."
            )

    def _check_strategy(self) -> None:
        told = " and ".join(name for name in ("prior", "zero_cost") if getattr(self, name))
        if told and not uses_knowledge(self.strategy):
            raise StudyError(
                f"study {self.name!r} has {told} and the strategy {type(self.strategy).__name__}, which learns nothing "
                f"from elsewhere: leave {told} out, or give it SurrogateSearch."
            )

    def _check_training_macs(self) -> None:
        quantities = (*self.objectives, *(constraint.quantity for constraint in self.constraints))
        if self.knows_training or not any(isinstance(one, TrainingMacs) for one in quantities):
            return
        raise StudyError(
            f"study {self.name!r} counts the MACs of a candidate's training, which are known where every candidate is "
            "trained by itself and to its end: give it training=FromScratch() without hurdles, or leave "
            "TrainingMacs() out."
        )
