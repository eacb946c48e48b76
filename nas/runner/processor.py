"""How torch uses the processor: how many threads compute, and what memory is kept."""

from __future__ import annotations

import torch

from nas.runner.preparation import Prepared
from nas.training.kept_memory import keep_freed_memory

_MACS_FOR_THREADS = 10_000_000
"""Chosen: with a tenth of it small networks would wait for their own threads, as measured below; with ten times more,
networks that keep several cores busy would have one."""


def suit_processor(prepared: Prepared) -> None:
    """Let torch compute with as many threads as suit the network, and keep the memory that tensors leave free."""
    torch.set_num_threads(suitable_threads(prepared))
    keep_freed_memory()


def suitable_threads(prepared: Prepared) -> int:
    """Return 1 for a small network, for which a second thread costs more time than it saves; else torch's number.

    On two cores a training step of the digits study takes 44 ms with one thread and 40 ms with two; but
    when anything else runs, two threads wait for each other and it takes five times as long. The choice
    depends on the network alone, because the number of threads changes the last bits of sums.
    """
    space = prepared.problem.space
    largest = prepared.counts(space.indices([space.largest()]))
    return 1 if largest.macs[0] < _MACS_FOR_THREADS else torch.get_num_threads()
