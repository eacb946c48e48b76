"""Processes that train together, as threads: as many as a test needs, without starting any."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

import pytest
import torch
from torch import Tensor
from torch import distributed as dist

from nas.training import Ranks

T = TypeVar("T")

_PATIENCE_S = 600
"""How long a thread waits for others that would never come if a test failed."""


def in_threads(size: int, work: Callable[[Ranks], T], patch: pytest.MonkeyPatch) -> list[T]:
    """Return what each of ``size`` threads makes of its rank; their all-reduce adds up in the order of ranks."""
    barrier, given = threading.Barrier(size), {}
    ranks = threading.local()

    def all_reduce(tensor: Tensor) -> None:
        given[ranks.own] = tensor.clone()
        barrier.wait(_PATIENCE_S)
        total = torch.stack([given[rank] for rank in range(size)]).sum(0)
        barrier.wait(_PATIENCE_S)
        tensor.copy_(total)

    def broadcast(tensor: Tensor, src: int) -> None:
        all_reduce(tensor if ranks.own == src else tensor.zero_())

    patch.setattr(dist, "all_reduce", all_reduce)
    patch.setattr(dist, "broadcast", broadcast)
    patch.setattr(dist, "get_backend", lambda: "gloo")

    def begin(rank: int) -> Any:
        ranks.own = rank
        try:
            return work(Ranks(rank, size))
        except Exception:  # an interruption comes to all of them
            barrier.abort()
            raise

    with ThreadPoolExecutor(size) as pool:
        futures = [pool.submit(begin, rank) for rank in range(size)]
    errors = [future.exception() for future in futures]
    for error in sorted(filter(None, errors), key=lambda e: isinstance(e, threading.BrokenBarrierError)):
        raise error
    return cast(list[T], [future.result() for future in futures])
