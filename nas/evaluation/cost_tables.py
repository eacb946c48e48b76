"""What layers cost by the options of the few choices in their sizes, as small tables that add up."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import cast, final

import numpy as np
from torch import nn

from nas.choices import Choice, Expression, choices_of, combinations
from nas.objectives import Counts
from nas.space import IntArray, SearchSpace
from nas.supernet import Supernet, elastic
from nas.supernet.attending import Attending
from nas.supernet.cut import Cut
from nas.supernet.sites import Site, Slot

_MAX_ROWS = 200_000
"""Each row is a call in Python, and so many take seconds. What has more is counted by torch, for each architecture."""
Cost = Callable[[], tuple[int, int]]
"""Returns MACs and parameters."""


@dataclass(frozen=True)
class _Lookup:
    """Something by the options of a few choices, flattened in C order."""

    columns: tuple[int, ...]
    shape: tuple[int, ...]

    def rows(self, indices: IntArray) -> IntArray:
        if not self.columns:
            return np.zeros(len(indices), dtype=np.int64)
        picked = tuple(indices[:, column] for column in self.columns)
        return np.asarray(np.ravel_multi_index(picked, self.shape), dtype=np.int64)


@final
@dataclass(frozen=True)
class PositionTable(_Lookup):
    """How many vectors a layer gets of one input, where choices decide that."""

    numbers: IntArray


@final
@dataclass(frozen=True)
class CostTable(_Lookup):
    """MACs and parameters of each combination of options; where there are ``positions``, the MACs are those of one."""

    macs: IntArray
    num_params: IntArray
    positions: PositionTable | None = None

    def plus(self, other: CostTable) -> CostTable:
        """Return what both cost together; of the same choices."""
        return replace(self, macs=self.macs + other.macs, num_params=self.num_params + other.num_params)


def stack_tables(column: int, tables: Sequence[CostTable]) -> CostTable:
    """Return one table of several for the options of another choice, which differ in nothing else."""
    return CostTable(
        (column, *tables[0].columns),
        (len(tables), *tables[0].shape),
        np.concatenate([table.macs for table in tables]),
        np.concatenate([table.num_params for table in tables]),
        tables[0].positions,
    )


def sum_tables(tables: list[CostTable], indices: IntArray) -> Counts:
    """Return the counts of ``(n, num_choices)`` canonical positions."""
    macs = np.zeros(len(indices), dtype=np.int64)
    num_params = np.zeros(len(indices), dtype=np.int64)
    for table in tables:
        rows = table.rows(indices)
        at = table.positions
        macs += table.macs[rows] * (1 if at is None else at.numbers[at.rows(indices)])
        num_params += table.num_params[rows]
    return Counts(macs, num_params)


def is_free(module: nn.Module, macs: int, own: set[nn.Parameter]) -> bool:
    """Whether a module of no elastic class neither multiplies nor holds parameters, whatever is chosen."""
    return not macs and not own and not isinstance(module, elastic.ElasticLayer | Cut | Attending)


def find_position_count(site: Site) -> Expression | None:
    """Return the expression of choices that says how many vectors a layer gets; None where that is fixed."""
    return next((slot.expression for slot in site.slots if _is_position_count(slot)), None)


def _is_position_count(slot: Slot) -> bool:
    return isinstance(slot.module, elastic.Linear) and slot.attribute == "positions"


def tabulate_positions(space: SearchSpace, expression: Expression) -> PositionTable:
    """Return a number of vectors by the choices that decide it."""
    columns = tuple(space.choices.index(choice) for choice in expression.choices)
    numbers = [expression.value(options) for options in combinations(expression.choices)]
    return PositionTable(
        columns, tuple(len(c.options) for c in expression.choices), np.array(numbers, dtype=np.int64)
    )


def cost_of(module: nn.Module, positions: int, macs: int, own: set[nn.Parameter]) -> Cost:
    """Return a function that tells the MACs and parameters of a module at its active sizes.

    Args:
        module: Module whose cost it is.
        positions: Positions of the output, where it is an elastic layer; 1 where choices decide that.
        macs: Multiply-accumulates of the module itself, in the largest architecture.
        own: Parameters that count as the module's own.
    """
    if isinstance(module, Cut | Attending):
        names = [name for name, parameter in module._parameters.items() if parameter in own]
        fixed = sum(parameter.numel() for parameter in own)

        def cut() -> tuple[int, int]:
            active, whole = module.active_share()
            num_params = sum(map(module.num_active, names)) if isinstance(module, Cut) else fixed
            return macs * active // whole, num_params

        return cut
    if isinstance(module, elastic.ElasticLayer):
        return lambda: (positions * module.macs_per_position(), module.num_active_params())
    num_params = sum(parameter.numel() for parameter in own)
    return lambda: (macs, num_params)


def tabulate(
    twin: Supernet, site: Site, cost: Cost, positions: PositionTable | None
) -> list[CostTable] | None:
    """Return tables that add up to the cost of a module, or None where one would be too large.

    The cost of a layer that takes the concatenation of many others is linear in the size of each, so it
    is what it costs without all of them, and what each of them adds to that.
    """
    sources = site.module.sources if isinstance(site.module, Cut) else ()
    base = _table(twin, site, cost, sources)
    tables = [base]
    for source in sources:
        others = tuple(name for name in sources if name != source)
        tables += [_table(twin, site, cost, others), _negative(base)]
    if None in tables:
        return None
    return [replace(table, positions=positions) for table in cast(list[CostTable], tables)]


def _negative(table: CostTable | None) -> CostTable | None:
    return table and replace(table, macs=-table.macs, num_params=-table.num_params)


def _table(twin: Supernet, site: Site, cost: Cost, zero: tuple[str, ...]) -> CostTable | None:
    """Return what a module costs where the sizes named in ``zero`` are 0."""
    space = twin.space
    controlling = [space[c.choice] for alternative in site.alternatives for c in alternative]
    if not site.conditional:
        controlling = []
    slots = [s for s in site.slots if s.attribute not in zero and not _is_position_count(s)]
    if isinstance(site.module, Cut | Attending):
        slots = [slot for slot in slots if site.module.is_part(slot.attribute)]  # not what is made of them
    choices = tuple(dict.fromkeys([*choices_of(*(slot.expression for slot in slots)), *controlling]))
    shape = tuple(len(choice.options) for choice in choices)
    if math.prod(shape) > _MAX_ROWS:
        return None
    sizes = {name: site.module.__dict__[name] for name in zero}
    # Around the elastic layers' own attributes, because no architecture has sizes of 0.
    site.module.__dict__.update(dict.fromkeys(zero, 0))
    positions_of = itertools.product(*map(range, shape))
    rows = [_cost(site, slots, choices, row, cost) for row in positions_of]
    site.module.__dict__.update(sizes)  # no architecture brings back one that isn't elastic
    macs, num_params = np.array(rows, dtype=np.int64).T
    columns = tuple(space.choices.index(choice) for choice in choices)
    return CostTable(columns, shape, macs, num_params)


def _cost(
    site: Site,
    slots: list[Slot],
    choices: tuple[Choice, ...],
    row: tuple[int, ...],
    cost: Cost,
) -> tuple[int, int]:
    options = {c.name: c.options[position] for c, position in zip(choices, row, strict=True)}
    in_use = not site.conditional or any(
        all(options[c.choice] in c.options for c in alternative) for alternative in site.alternatives
    )
    if not in_use:
        return 0, 0
    for slot in slots:
        slot.module.__dict__[slot.attribute] = slot.expression.value(options)
    return cost()
