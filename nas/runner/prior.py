"""Results of earlier runs as knowledge for a new one, whose space has the same choices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import final

import numpy as np
from optuna.trial import FrozenTrial

from nas.choices import Option
from nas.errors import RunDirectoryError, SpaceError, StudyError, one_line
from nas.files import make_damage_error
from nas.knowledge import Knowledge
from nas.objective import Objective
from nas.runner.directory import RunDirectory, open_record, reading
from nas.runner.preparation import Prepared
from nas.search.models.cost_model import find_measured_columns
from nas.search.record.credibility import credible
from nas.search.record.trials import complete_trials, costs_of
from nas.space import Architecture, SearchSpace
from nas.stored import read_stored, write_stored
from nas.strategy import Problem

_MIN_ROWS = 4
"""Architectures that an earlier run must have in common with the space; fewer teach nothing."""


@final
@dataclass(frozen=True)
class _Taken:
    """Knowledge as plain values.

    Args:
        name: Name of the source.
        objective: Objective of the run that it tells of.
        architectures: Options by choice.
        costs: Costs of these.
    """

    name: str
    objective: str
    architectures: tuple[dict[str, Option], ...]
    costs: tuple[float, ...]

    @classmethod
    def of(cls, known: Knowledge, space: SearchSpace) -> _Taken:
        """Return knowledge as plain values."""
        rows = tuple(dict(architecture) for architecture in space.from_indices(known.indices))
        return cls(known.name, known.objective, rows, tuple(known.values.tolist()))

    def knowledge(self, space: SearchSpace) -> Knowledge:
        """Return the knowledge for a search in ``space``."""
        indices = space.indices([space.architecture(options) for options in self.architectures])
        return Knowledge(self.name, indices, np.array(self.costs), self.objective, are_costs=True)


@final
@dataclass(frozen=True)
class _Snapshot:
    """All that a run took from earlier ones.

    Args:
        taken: By earlier run and objective.
    """

    taken: tuple[_Taken, ...]


def with_priors(prepared: Prepared, directory: RunDirectory) -> Prepared:
    """Return a run's study with the results of earlier runs as knowledge.

    When the run starts, the earlier runs are read. Later calls use the copy that :func:`keep_priors` has made.

    Raises:
        StudyError: an earlier run can't teach this study; says why.
        RunDirectoryError: one isn't there, or can't be read.
        DamagedFileError: a file is damaged.
        StorageError: a database server can't be used.
    """
    problem = prepared.problem
    if not prepared.study.prior:
        return prepared
    if directory.prior.exists():
        known = _read_stored_knowledge(directory.prior, problem.space)
    else:
        _check_different(prepared.study.prior, directory)
        known = [by for name in prepared.study.prior for by in _read(name, directory, problem)]
    return replace(prepared, problem=replace(problem, knowledge=(*problem.knowledge, *known)))


def keep_priors(prepared: Prepared, directory: RunDirectory) -> None:
    """Copy the results of earlier runs into the run directory, so that a resumed run doesn't need them."""
    if prepared.study.prior and not directory.prior.exists():
        known = [_Taken.of(by, prepared.problem.space) for by in prepared.problem.knowledge]
        write_stored(directory.prior, {"taken": [asdict(taken) for taken in known]})


def _read_stored_knowledge(path: Path, space: SearchSpace) -> list[Knowledge]:
    try:
        return [taken.knowledge(space) for taken in read_stored(path, _Snapshot).taken]
    except SpaceError as error:
        raise make_damage_error(path, one_line(error)) from error


def _check_different(names: Sequence[str], directory: RunDirectory) -> None:
    """Refuse an earlier run that is named twice, whose results would count twice."""
    first: dict[Path, str] = {}
    for name in names:
        place = directory.beside(Path(name)).path.resolve()
        if place in first:
            raise StudyError(f"the priors {first[place]} and {name} are the same run: name it once.")
        first[place] = name


def _read(name: str, directory: RunDirectory, problem: Problem) -> list[Knowledge]:
    """Return what an earlier run tells of a problem's measured objectives."""
    earlier = directory.beside(Path(name))
    if earlier.path.resolve() == directory.path.resolve():
        raise StudyError(f"{name} is to be its own prior: name an earlier run, or leave the prior out.")
    if not earlier.manifest.exists():
        raise RunDirectoryError(f"the prior {name} is no run directory: name one that 'nas run' has made.")
    with reading(earlier):
        record, objectives = open_record(earlier)
        trials = complete_trials(record)
    _check_space(name, earlier.search_space(), problem.space)
    found = _in_common(problem.space, trials)
    if len(found) < _MIN_ROWS:
        raise StudyError(
            f"the prior {name} has {len(found)} evaluated architectures that the study's space holds, of "
            f"{len(trials)} altogether: at least {_MIN_ROWS} are needed, so leave it out."
        )
    return _to_knowledge(name, problem, objectives, found)


def _to_knowledge(
    name: str, problem: Problem, objectives: Sequence[Objective], found: Mapping[Architecture, FrozenTrial]
) -> list[Knowledge]:
    """Return the costs of the architectures found, for each objective of the problem that one of these tells of."""
    pairs = _pairs(problem, objectives)
    if not pairs:
        raise StudyError(
            f"the prior {name} has the objectives {[o.name for o in objectives]}, none of which tells of what is "
            f"measured in the study: leave it out."
        )
    costs, indices = credible(costs_of(objectives, list(found.values()))), problem.space.indices(found)
    told = []
    for wanted, by in pairs:
        known = np.isfinite(costs[:, by])
        whose = name if objectives[by].name == wanted else f"{name} ({objectives[by].name})"
        told.append(Knowledge(whose, indices[known], costs[known, by], wanted, are_costs=True))
    return told


def _check_space(name: str, earlier: SearchSpace, space: SearchSpace) -> None:
    theirs, ours = ({choice.name for choice in s.choices} for s in (earlier, space))
    different = sorted(theirs ^ ours)
    if different:
        whose = "only the prior has" if different[0] in theirs else "only the study has"
        raise StudyError(
            f"the prior {name} searched another space, for the choice {different[0]!r} {whose}: name a run of the "
            "same choices, whose options may differ."
        )


def _in_common(space: SearchSpace, trials: Sequence[FrozenTrial]) -> dict[Architecture, FrozenTrial]:
    """Return the first trial of each architecture that the space holds."""
    found: dict[Architecture, FrozenTrial] = {}
    for trial in trials:
        try:
            found.setdefault(space.architecture(trial.params), trial)
        except SpaceError:  # an option that the space doesn't have
            continue
    return found


def _pairs(problem: Problem, objectives: Sequence[Objective]) -> list[tuple[str, int]]:
    """Return what is measured in the study, and the column of the earlier objective that tells of it.

    One of the same name does; else one quality tells of another; else those whose names begin with the same word.
    """
    space = problem.space
    pairs = []
    for column in find_measured_columns(problem, space.indices([space.smallest()])):
        name = problem.objectives[column].name
        same = [by for by, o in enumerate(objectives) if o.name == name]
        quality = [0] if column == 0 else []
        alike = [by for by, o in enumerate(objectives) if by and column and _kind(o.name) == _kind(name)]
        pairs += [(name, by) for by in same or quality or alike]
    return pairs


def _kind(name: str) -> str:
    """Return what an objective is of: ``latency`` of ``latency_ms`` and of ``latency_phone_ms``."""
    return name.split("_")[0]
