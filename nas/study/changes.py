"""What a user changed in a study without editing its file."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from nas.changes import change_fault
from nas.errors import StudyError
from nas.evaluation import Flops, Macs, NumParams, TrainingMacs, WeightBytes
from nas.objectives import AnyObjective, Constraint, CountedObjective
from nas.study.study import Study

_COUNTED: tuple[CountedObjective, ...] = (Macs(), Flops(), NumParams(), WeightBytes())


def change_study(
    study: Study,
    *,
    evaluations: int | None = None,
    seed: int | None = None,
    training_device: str | None = None,
    objectives: Sequence[str] = (),
    constraints: Mapping[str, float] | None = None,
) -> Study:
    """Return the study with what a user changed.

    Args:
        study: As its file describes it.
        evaluations: Instead of the study's own; None leaves them.
        seed: Instead of the study's own; None leaves it.
        training_device: Where to train, which no study states: it is checked whether it may be chosen.
        objectives: Names of those to keep, the quality among them; none leaves all.
        constraints: Largest value by name of a quantity, instead of the study's own limit on it
            or as one more.

    Raises:
        StudyError: the study doesn't declare an aspect changeable, or a name is unknown.
    """
    asked = {
        "evaluations": evaluations,
        "seed": seed,
        "device": training_device,
        "objectives": objectives or None,
        "constraints": constraints or None,
    }
    changes = {aspect: value for aspect, value in asked.items() if value is not None}
    quantities, limits = limitable(study), constraints or {}
    names = [objective.objective.name for objective in study.objectives]
    fault = change_fault(
        study.name, changes, changeable=study.changeable, objectives=names, limitable=quantities
    )
    if fault is not None:
        raise StudyError(fault)
    return dataclasses.replace(
        study,
        evaluations=study.evaluations if evaluations is None else evaluations,
        seed=study.seed if seed is None else seed,
        objectives=tuple(o for o in study.objectives if not objectives or o.objective.name in objectives),
        constraints=(
            *(c for c in study.constraints if c.quantity.objective.name not in limits),
            *(Constraint(quantities[name], limit) for name, limit in limits.items()),
        ),
    )


def limitable(study: Study) -> dict[str, AnyObjective]:
    """Return the quantities that a constraint may be put on, by name: ``nas``'s counted ones and the study's own."""
    own = [*(c.quantity for c in study.constraints), *study.objectives]
    training = [TrainingMacs()] if study.knows_training else []
    return {o.objective.name: o for o in [*_COUNTED, *training, *own] if o.objective.direction == "minimize"}
