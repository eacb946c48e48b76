"""Exact MACs and parameters of any architecture without running it: a sum of small look-up tables."""

from __future__ import annotations

import copy
import itertools
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast, final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from nas.choices import Choice, Expression, choices_of, combinations
from nas.inputs import Form, InputSpec, as_spec, call_network
from nas.protocols import Counts
from nas.space import Architecture, IntArray, SearchSpace
from nas.supernet import Supernet, elastic
from nas.supernet.attending import Attending
from nas.supernet.cut import Cut
from nas.supernet.probing import FlopCounter, counting
from nas.supernet.resized import Resized
from nas.supernet.sites import Site, Slot

logger = logging.getLogger(__name__)

_MAX_TABLE_ROWS = 200_000
_MOST_MODULES = 10_000
"""To run while the tables are compared with torch's counter, which takes a tenth of a millisecond for each."""
_Counted = TypeVar("_Counted")
_Cost = Callable[[], tuple[int, int]]
"""Returns MACs and parameters."""


def count_macs(module: nn.Module, form: Form) -> int:
    """Return the multiply-accumulates of one item, by torch's own counter (FLOPs / 2).

    Counts convolutions, matrix products and attention, not elementwise work.

    Args:
        module: In evaluation mode; its parameters may lie on the meta device.
        form: What it takes.
    """
    with counting(module) as counter:
        call_network(module, as_spec(form).blank(1, next(module.parameters()).device))
    return counter.flops // 2


def count_params(module: nn.Module) -> int:
    """Return how many numbers the parameters of a plain module hold."""
    return sum(parameter.numel() for parameter in module.parameters())


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
class _Positions(_Lookup):
    """How many vectors a layer gets of one input, where choices decide that."""

    numbers: IntArray


@final
@dataclass(frozen=True)
class _Table(_Lookup):
    """``macs`` and ``num_params``; the MACs are of one position each where there are ``positions``."""

    macs: IntArray
    num_params: IntArray
    positions: _Positions | None = None

    def plus(self, other: _Table) -> _Table:
        return replace(self, macs=self.macs + other.macs, num_params=self.num_params + other.num_params)


@final
class NetworkCounter:
    """Counts every architecture of a supernet.

    A layer's cost depends on the few choices in its sizes, so the network's cost is a sum of small
    tables: a hundred thousand architectures take milliseconds. On construction the tables are compared
    with torch's counter; where they differ (a module that multiplies matrices of elastic size on its
    own, a spatial size that depends on a choice) every count is torch's, exact and slow.

    Args:
        supernet: Only its structure is read.
        form: What it takes.
        known: Multiply-accumulates that torch counted already, by the architecture's id, as
            :meth:`Supernet.check_shapes` does.
    """

    def __init__(self, supernet: Supernet, form: Form, known: Mapping[str, int] | None = None) -> None:
        self._twin, self._spare = (_copied(supernet, torch.device(name)) for name in ("meta", "cpu"))
        self._inputs = as_spec(form)
        self._cache: dict[str, tuple[int, int]] = {}
        tables = self._on_a_twin(self._build)
        self.tables = tables if tables is not None and self._agrees(supernet, tables, known or {}) else None
        if self.tables is None:
            logger.warning(
                "MACs of this network can't be tabulated; each architecture is counted by torch, which is slow"
            )

    def counts(self, indices: IntArray) -> Counts:
        """Return exact counts of ``(n, num_choices)`` option positions."""
        if self.tables is not None:
            return _sum(self.tables, self._twin.space.canonical(indices))
        exact = [self._run(row) for row in indices]
        macs, num_params = np.array(exact, dtype=np.int64).reshape(len(exact), 2).T
        return Counts(macs, num_params)

    def _run(self, row: IntArray) -> tuple[int, int]:
        architecture = self._twin.space.from_indices(row[None])[0]
        if architecture.id not in self._cache:
            self._cache[architecture.id] = self._on_a_twin(lambda twin: self._exact(twin, architecture))
        return self._cache[architecture.id]

    def _exact(self, twin: Supernet, architecture: Architecture) -> tuple[int, int]:
        module = twin.extract(architecture, config=False)
        return count_macs(module, self._inputs), count_params(module)

    def _on_a_twin(self, count: Callable[[Supernet], _Counted]) -> _Counted:
        """Count on the twin without storage; where that can't run, on the CPU from then on.

        A ``forward`` that makes a constant of its own, or reads a value, doesn't run on the meta device.
        """
        try:
            return count(self._twin)
        except Exception:  # whatever a user's forward raises; a real fault is raised again
            self._twin = self._spare
            return count(self._twin)

    def _agrees(self, supernet: Supernet, tables: list[_Table], known: Mapping[str, int]) -> bool:
        """Compare with torch's counter where every option is in use once, and at some random places."""
        space = supernet.space
        random = space.sample_indices(14, np.random.default_rng(0))
        counts = _sum(tables, random)
        exact = [self._exact(self._spare, architecture) for architecture in space.from_indices(random[:4])]
        if exact != list(zip(counts.macs[:4].tolist(), counts.num_params[:4].tolist(), strict=True)):
            return False
        probes = [*supernet.probes(), *space.from_indices(random)]
        unknown = [architecture for architecture in probes if architecture.id not in known]
        unknown = unknown[:: max(1, -(-len(unknown) * len(supernet.sites) // _MOST_MODULES))]
        macs = {**known, **self._counted_by_torch(unknown)}
        compared = [architecture for architecture in probes if architecture.id in macs]
        tabulated = _sum(tables, space.indices(compared)).macs
        return np.array_equal(tabulated, [macs[architecture.id] for architecture in compared])

    def _counted_by_torch(self, architectures: Sequence[Architecture]) -> dict[str, int]:
        """Return the multiply-accumulates of active subnets by their ids."""
        macs = self._spare.count_macs(architectures, self._inputs)
        for architecture in architectures:
            if architecture.id not in macs:
                with self._spare.active(architecture):
                    macs[architecture.id] = count_macs(self._spare, self._inputs)
        return macs

    def _build(self, twin: Supernet) -> list[_Table] | None:
        sides = [slot for site in twin.sites if isinstance(site.module, Resized) for slot in site.slots]
        if not sides:
            return self._tables(twin, twin.space.largest())
        (side,) = sides[0].expression.choices
        largest = twin.space.largest()
        found = [
            self._tables(twin, twin.space.architecture({**largest, side.name: option}))
            for option in side.options
        ]
        column = twin.space.choices.index(side)
        return (
            None
            if None in found
            else [_stacked(column, tables) for tables in zip(*cast(list[list[_Table]], found), strict=True)]
        )

    def _tables(self, twin: Supernet, architecture: Architecture) -> list[_Table] | None:
        """Return the tables for images as large as they are in ``architecture``, which has everything else."""
        positions, own_macs = _trace(twin, architecture, self._inputs)
        merged: dict[tuple[object, ...], _Table] = {}
        counted: set[nn.Parameter] = set()
        chosen: dict[str, _Positions | None] = {"None": None}
        for site in twin.sites:
            own = set(site.module.parameters(recurse=False)) - counted  # tied weights count once
            counted |= own
            macs = own_macs.get(site.path, 0)
            if isinstance(site.module, Resized) or _is_free(site.module, macs, own):
                continue
            expression = _positions_chosen(site)
            cost = _cost_of(site.module, positions.get(site.path, 0) if expression is None else 1, macs, own)
            if expression is not None and str(expression) not in chosen:
                chosen[str(expression)] = _tabulate_positions(twin.space, expression)
            tables = _tabulate(twin, site, cost, chosen[str(expression)])
            if tables is None:
                return None
            for table in tables:
                key = (*table.columns, str(expression))
                known = merged.get(key)
                merged[key] = table if known is None else known.plus(table)
        return list(merged.values())


def _stacked(column: int, tables: Sequence[_Table]) -> _Table:
    """Return one table of several for the options of another choice, which differ in nothing else."""
    return _Table(
        (column, *tables[0].columns),
        (len(tables), *tables[0].shape),
        np.concatenate([table.macs for table in tables]),
        np.concatenate([table.num_params for table in tables]),
        tables[0].positions,
    )


def _sum(tables: list[_Table], indices: IntArray) -> Counts:
    macs = np.zeros(len(indices), dtype=np.int64)
    num_params = np.zeros(len(indices), dtype=np.int64)
    for table in tables:
        rows = table.rows(indices)
        at = table.positions
        macs += table.macs[rows] * (1 if at is None else at.numbers[at.rows(indices)])
        num_params += table.num_params[rows]
    return Counts(macs, num_params)


def _copied(supernet: Supernet, device: torch.device) -> Supernet:
    """Return a copy in evaluation mode, in which what is shared stays shared; on the CPU it shares storage too."""
    memo: dict[int, object] = {id(b): b.detach().to(device) for b in supernet.buffers()}
    memo |= {id(p): nn.Parameter(p.detach().to(device), p.requires_grad) for p in supernet.parameters()}
    return copy.deepcopy(supernet, memo).eval()


def _trace(
    twin: Supernet, architecture: Architecture, inputs: InputSpec
) -> tuple[dict[str, int], dict[str, int]]:
    """Run the largest architecture, or that for smaller images, once.

    Returns:
        Output positions of each elastic layer, and the MACs that each other module performs itself,
        both by path and summed over calls.
    """
    with twin.active(architecture), counting(twin.module) as counter, _Watch(twin.sites, counter) as watch:
        call_network(twin.module, inputs.blank(1, next(twin.parameters()).device))
    return watch.positions, watch.own_macs


@final
class _Watch:
    """Sees which modules run, how many positions elastic layers give, and what is counted while which module runs."""

    def __init__(self, sites: Sequence[Site], counter: FlopCounter) -> None:
        self.positions: dict[str, int] = {}
        self.own_macs: dict[str, int] = {}
        self._paths = {id(site.module): site.path for site in sites}
        self._counter = counter
        self._running = [""]
        self._seen = 0

    def __enter__(self) -> _Watch:
        # Hooks of all modules, because compiled ones take none of their own.
        self._handles = (
            register_module_forward_pre_hook(self._begin),
            register_module_forward_hook(self._end, always_call=True),
        )
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _begin(self, module: nn.Module, _inputs: object) -> None:
        if id(module) in self._paths:
            self._attribute()
            self._running.append(self._paths[id(module)])

    def _end(self, module: nn.Module, _inputs: object, output: Any) -> None:
        if id(module) not in self._paths:
            return
        self._attribute()
        path = self._running.pop()
        if isinstance(module, elastic.ElasticLayer) and output is not None:
            made: Tensor = output[0] if isinstance(output, tuple) else output
            last = made.ndim != 4 or isinstance(module, nn.Linear | elastic.Linear)
            self.positions[path] = self.positions.get(path, 0) + made.numel() // made.shape[-1 if last else 1]

    def _attribute(self) -> None:
        """Give what was counted since the last time to the module that runs."""
        path, flops = self._running[-1], self._counter.flops
        self.own_macs[path] = self.own_macs.get(path, 0) + (flops - self._seen) // 2
        self._seen = flops


def _is_free(module: nn.Module, macs: int, own: set[nn.Parameter]) -> bool:
    """Whether a module of no elastic class neither multiplies nor holds parameters, whatever is chosen."""
    return not macs and not own and not isinstance(module, elastic.ElasticLayer | Cut | Attending)


def _positions_chosen(site: Site) -> Expression | None:
    """Return on which choices it depends how many vectors a layer gets, or None."""
    return next((slot.expression for slot in site.slots if _is_position_count(slot)), None)


def _is_position_count(slot: Slot) -> bool:
    return isinstance(slot.module, elastic.Linear) and slot.attribute == "positions"


def _tabulate_positions(space: SearchSpace, expression: Expression) -> _Positions:
    columns = tuple(space.choices.index(choice) for choice in expression.choices)
    numbers = [expression.value(options) for options in combinations(expression.choices)]
    return _Positions(
        columns, tuple(len(c.options) for c in expression.choices), np.array(numbers, dtype=np.int64)
    )


def _cost_of(module: nn.Module, positions: int, macs: int, own: set[nn.Parameter]) -> _Cost:
    """Return what tells the MACs and parameters of a module at its active sizes.

    Args:
        module: What it is of.
        positions: Of the output, where it is an elastic layer; 1 where choices decide that.
        macs: That the module multiplies itself, in the largest architecture.
        own: Parameters that count as its.
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


def _tabulate(twin: Supernet, site: Site, cost: _Cost, positions: _Positions | None) -> list[_Table] | None:
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
    return [replace(table, positions=positions) for table in cast(list[_Table], tables)]


def _negative(table: _Table | None) -> _Table | None:
    return table and replace(table, macs=-table.macs, num_params=-table.num_params)


def _table(twin: Supernet, site: Site, cost: _Cost, zero: tuple[str, ...]) -> _Table | None:
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
    if math.prod(shape) > _MAX_TABLE_ROWS:
        return None
    sizes = {name: site.module.__dict__[name] for name in zero}
    site.module.__dict__.update(dict.fromkeys(zero, 0))
    positions_of = itertools.product(*map(range, shape))
    rows = [_cost(site, slots, choices, row, cost) for row in positions_of]
    site.module.__dict__.update(sizes)  # no architecture brings back one that isn't elastic
    macs, num_params = np.array(rows, dtype=np.int64).T
    columns = tuple(space.choices.index(choice) for choice in choices)
    return _Table(columns, shape, macs, num_params)


def _cost(
    site: Site,
    slots: list[Slot],
    choices: tuple[Choice, ...],
    row: tuple[int, ...],
    cost: _Cost,
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
