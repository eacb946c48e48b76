"""Exact MACs and parameters of any architecture without running it: a sum of small look-up tables."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar, cast, final

import numpy as np
import torch
from torch import nn

from nas.evaluation.cost_tables import (
    CostTable,
    PositionTable,
    cost_of,
    find_position_count,
    is_free,
    stack_tables,
    sum_tables,
    tabulate,
    tabulate_positions,
)
from nas.evaluation.module_costs import trace_all_costs
from nas.inputs import Form, as_spec, call_network
from nas.objectives import Counts
from nas.space import Architecture, IntArray
from nas.supernet import Supernet
from nas.supernet.probing import counting
from nas.supernet.resized import Resized

logger = logging.getLogger(__name__)

_MOST_MODULES = 10_000
"""To run while the tables are compared with torch's counter, which takes a tenth of a millisecond for each."""
_Counted = TypeVar("_Counted")


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
        # The twin on the meta device computes shapes alone, which takes no memory and next to no time.
        self._twin, self._spare = (_copy_supernet(supernet, torch.device(name)) for name in ("meta", "cpu"))
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
            return sum_tables(self.tables, self._twin.space.canonical(indices))
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

    def _agrees(self, supernet: Supernet, tables: list[CostTable], known: Mapping[str, int]) -> bool:
        """Compare with torch's counter where every option is in use once, and at some random places."""
        space = supernet.space
        # A few whole networks first, which find a wrong table soonest; the rest take longer.
        random = space.sample_indices(14, np.random.default_rng(0))
        counts = sum_tables(tables, random)
        exact = [self._exact(self._spare, architecture) for architecture in space.from_indices(random[:4])]
        if exact != list(zip(counts.macs[:4].tolist(), counts.num_params[:4].tolist(), strict=True)):
            return False
        probes = [*supernet.probes(), *space.from_indices(random)]
        unknown = [architecture for architecture in probes if architecture.id not in known]
        unknown = unknown[:: max(1, -(-len(unknown) * len(supernet.sites) // _MOST_MODULES))]
        macs = {**known, **self._count_by_torch(unknown)}
        compared = [architecture for architecture in probes if architecture.id in macs]
        tabulated = sum_tables(tables, space.indices(compared)).macs
        return np.array_equal(tabulated, [macs[architecture.id] for architecture in compared])

    def _count_by_torch(self, architectures: Sequence[Architecture]) -> dict[str, int]:
        """Return the multiply-accumulates of active subnets by their ids."""
        macs = self._spare.count_macs(architectures, self._inputs)
        for architecture in architectures:
            if architecture.id not in macs:
                with self._spare.active(architecture):
                    macs[architecture.id] = count_macs(self._spare, self._inputs)
        return macs

    def _build(self, twin: Supernet) -> list[CostTable] | None:
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
            else [
                stack_tables(column, tables)
                for tables in zip(*cast(list[list[CostTable]], found), strict=True)
            ]
        )

    def _tables(self, twin: Supernet, architecture: Architecture) -> list[CostTable] | None:
        """Return the tables for images as large as they are in ``architecture``, which has everything else."""
        positions, own_macs = trace_all_costs(twin, architecture, self._inputs)
        merged: dict[tuple[object, ...], CostTable] = {}
        counted: set[nn.Parameter] = set()
        chosen: dict[str, PositionTable | None] = {"None": None}
        for site in twin.sites:
            own = set(site.module.parameters(recurse=False)) - counted  # tied weights count once
            counted |= own
            macs = own_macs.get(site.path, 0)
            if isinstance(site.module, Resized) or is_free(site.module, macs, own):
                continue
            expression = find_position_count(site)
            cost = cost_of(site.module, positions.get(site.path, 0) if expression is None else 1, macs, own)
            if expression is not None and str(expression) not in chosen:
                chosen[str(expression)] = tabulate_positions(twin.space, expression)
            tables = tabulate(twin, site, cost, chosen[str(expression)])
            if tables is None:
                return None
            for table in tables:
                key = (*table.columns, str(expression))
                known = merged.get(key)
                merged[key] = table if known is None else known.plus(table)
        return list(merged.values())


def _copy_supernet(supernet: Supernet, device: torch.device) -> Supernet:
    """Return a copy in evaluation mode, in which what is shared stays shared; on the CPU it shares storage too."""
    memo: dict[int, object] = {id(b): b.detach().to(device) for b in supernet.buffers()}
    memo |= {id(p): nn.Parameter(p.detach().to(device), p.requires_grad) for p in supernet.parameters()}
    return copy.deepcopy(supernet, memo).eval()
