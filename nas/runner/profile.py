"""What is known about a study before anything is trained: its space, its costs, its constraints."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import final

import numpy as np
import torch

from nas.errors import InfeasibleError
from nas.evaluation import Macs, NumParams
from nas.evaluation.costs import count_costs
from nas.objectives import CountedObjective, Counts
from nas.report.tables import Table, format_value
from nas.runner.counting import StudyCounter
from nas.runner.preparation import prepare
from nas.runner.problem import check_feasible, problem_of
from nas.space import FloatArray, SearchSpace
from nas.study import Study
from nas.supernet.convert import Report

_SLOW_SAMPLES = 50
"""How many are counted where torch has to count each of them."""


@final
@dataclass(frozen=True)
class Cost:
    """What the networks of a space cost in one counted quantity.

    Args:
        quantity: What is counted.
        smallest: What the architecture of the smallest options costs.
        sample: What random ones cost, sorted.
        largest: What the architecture of the largest options costs.
    """

    quantity: CountedObjective
    smallest: float
    sample: FloatArray
    largest: float


@final
@dataclass(frozen=True)
class Profile:
    """A study's space and what its networks cost.

    Args:
        study: Its name.
        space: All architectures.
        costs: By counted quantity, those of the study and of its constraints, MACs and parameters.
        limits: Every constraint on a counted quantity, its largest feasible value, and the share of the sample that
            meets it. What a limit on a measured objective leaves is not known before the search.
        feasible: Share of the sample that meets all constraints.
        infeasible: Why no architecture does, or None.
        conversion: What became elastic, for a network made from an existing module.
        passes: Name of the study's pipeline; costs are those before it.
    """

    study: str
    space: SearchSpace
    costs: tuple[Cost, ...]
    limits: tuple[tuple[CountedObjective, float, float], ...]
    feasible: float
    infeasible: str | None
    conversion: Report | None
    passes: str = ""

    @property
    def num_samples(self) -> int:
        """How many random architectures were counted."""
        return len(self.costs[0].sample)

    def headline(self) -> str:
        """Return the size of the space in a sentence, exactly."""
        size = self.space.cardinality()
        rounded = f" ({size:.1e})" if size >= 10**6 else ""
        return f"{self.study}: {len(self.space.choices)} choices, {size:,} architectures{rounded}"

    def table(self) -> Table:
        """Return the costs, one row per quantity."""
        rows = []
        for cost in self.costs:
            objective = cost.quantity.objective
            values = (
                cost.smallest,
                cost.sample[0],
                float(np.median(cost.sample)),
                cost.sample[-1],
                cost.largest,
            )
            name = f"{objective.name} ({objective.unit})" if objective.unit else objective.name
            rows.append([name, *(format_value(float(value), objective) for value in values)])
        return Table(["", "smallest", "min", "median", "max", "largest"], rows)

    def sentences(self) -> list[str]:
        """Return what constraints leave of the space."""
        before = [f"costs are those before the passes of the pipeline, {self.passes}"] if self.passes else []
        if not self.limits:
            return [*before, "no constraints on counted quantities"]
        found = [
            *before,
            *self._shares(),
        ]
        return self._with_verdict(found)

    def _shares(self) -> list[str]:
        return [
            f"{share:.1%} of the sample has {quantity.objective.name} of at most "
            f"{format_value(at_most, quantity.objective)}"
            for quantity, at_most, share in self.limits
        ]

    def _with_verdict(self, found: list[str]) -> list[str]:
        if self.infeasible is not None:
            return [*found, self.infeasible]
        if self.feasible == 0:
            return [
                *found,
                "none of the sample meets all constraints, but there is an architecture that does",
            ]
        return [*found, f"{self.feasible:.1%} of the sample meets all constraints"]


def profile(study: Study, num_samples: int = 2000) -> Profile:
    """Load the data, build the network, and count the costs of random architectures.

    Args:
        study: Nothing of it is trained or measured.
        num_samples: How many architectures; fewer where counting is slow.

    Raises:
        NasError: as :func:`nas.runner.preparation.prepare`, but constraints that can't be met are reported.
    """
    weights = None if callable(study.weights) else study.weights  # what it makes changes no count
    prepared = prepare(dataclasses.replace(study, constraints=(), weights=weights), torch.device("cpu"))
    space, counting = prepared.problem.space, prepared.counting
    count = num_samples if prepared.counter.tables is not None else min(num_samples, _SLOW_SAMPLES)
    sample = space.sample_indices(count, np.random.default_rng(study.seed))
    drawn = counting.counts(sample)
    ends = counting.counts(space.indices([space.smallest(), space.largest()]))
    limits = tuple(
        (quantity, at_most, float(np.mean(count_costs(quantity, drawn) <= at_most)))
        for quantity, at_most in study.hard_limits
    )
    problem = problem_of(study, counting)
    return Profile(
        study=study.name,
        space=space,
        costs=tuple(_cost(quantity, drawn, ends) for quantity in _quantities(study)),
        limits=limits,
        feasible=float(np.mean(problem.violation(sample) == 0)),
        infeasible=_why_infeasible(study, counting),
        conversion=prepared.supernet.report,
        passes=study.pipeline.name,
    )


def _quantities(study: Study) -> list[CountedObjective]:
    counted = [o for o in study.objectives if isinstance(o, CountedObjective)]
    every = [*counted, *(quantity for quantity, _ in study.hard_limits), Macs(), NumParams()]
    found: dict[str, CountedObjective] = {}
    for quantity in every:
        found.setdefault(quantity.objective.name, quantity)
    return list(found.values())


def _cost(quantity: CountedObjective, drawn: Counts, ends: Counts) -> Cost:
    smallest, largest = count_costs(quantity, ends)
    return Cost(quantity, float(smallest), np.sort(count_costs(quantity, drawn)), float(largest))


def _why_infeasible(study: Study, counting: StudyCounter) -> str | None:
    try:
        check_feasible(problem_of(study, counting), study.hard_limits, counting)
    except InfeasibleError as error:
        return str(error)
    return None
