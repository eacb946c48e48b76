"""Processes of this machine that train together over gloo, begun by a benchmark."""

from __future__ import annotations

import socket
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import TypeVar

import torch

from nas.training import Ranks, join_ranks

T = TypeVar("T")


def in_processes(size: int, work: Callable[[Ranks], T]) -> list[T]:
    """Return what each of so many processes makes of its rank. They are forked: to import torch takes seconds."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    context, processes, ends = get_context("fork"), [], []
    for rank in range(size):
        ours, theirs = context.Pipe()
        processes.append(context.Process(target=_work, args=(work, url, Ranks(rank, size), theirs)))
        ends.append(ours)
        processes[-1].start()
        theirs.close()
    try:
        return [end.recv() for end in ends]
    finally:
        for process in processes:
            process.join()


def _work(work: Callable[[Ranks], object], url: str, seat: Ranks, end: Connection) -> None:
    with join_ranks(torch.device("cpu"), (url, seat)) as ranks:
        end.send(work(ranks))
