"""What ``benchmarks.supernet_table`` found, as arrays in one compressed file."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import final

import numpy as np

from nas.files import replacing
from nas.space import FloatArray, IntArray, SearchSpace, space_from_description

FILE = Path(__file__).with_name("fashion_supernet.npz")


@final
@dataclass(frozen=True, eq=False)
class SupernetTable:
    """Architectures of one trained supernet.

    Args:
        space: Theirs.
        positions: ``(n, num_choices)``, canonical, no two alike.
        accuracy: ``(n,)`` on the search split, with the supernet's weights.
        loss: ``(n,)`` cross-entropy, likewise.
        macs: ``(n,)``, counted.
        num_params: ``(n,)``, counted.
        timed: ``(t,)`` rows whose latency was measured.
        latency_ms: ``(t,)``.
        latency_spread_ms: ``(t,)`` standard deviations.
        alone: ``(a,)`` rows that were trained alone; a row occurs once for each seed.
        alone_seed: ``(a,)``.
        alone_accuracy: ``(a,)`` on the search split.
        alone_loss: ``(a,)``, likewise.
        device: Where latencies were measured.
    """

    space: SearchSpace
    positions: IntArray
    accuracy: FloatArray
    loss: FloatArray
    macs: IntArray
    num_params: IntArray
    timed: IntArray
    latency_ms: FloatArray
    latency_spread_ms: FloatArray
    alone: IntArray
    alone_seed: IntArray
    alone_accuracy: FloatArray
    alone_loss: FloatArray
    device: str

    @property
    def digest(self) -> str:
        """Changes when what the oracle is fitted to does; trainings alone don't count."""
        digest = hashlib.sha256()
        for array in (self.positions, self.accuracy, self.timed, self.latency_ms):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:16]

    def read_trained_alone(self) -> tuple[IntArray, FloatArray]:
        """Return the rows that have all seeds, ``(k,)``, and their accuracies, ``(k, seeds)``."""
        seeds = np.unique(self.alone_seed)
        rows = [row for row in dict.fromkeys(self.alone.tolist()) if (self.alone == row).sum() == len(seeds)]
        found = [
            self.alone_accuracy[self.alone == row][np.argsort(self.alone_seed[self.alone == row])]
            for row in rows
        ]
        return np.array(rows, dtype=np.int64), np.array(found).reshape(len(rows), len(seeds))


_ARRAYS = tuple(field.name for field in fields(SupernetTable) if field.name not in ("space", "device"))


def write_table(path: Path, table: SupernetTable) -> None:
    """Write a table, whole or not at all."""
    arrays = {name: getattr(table, name) for name in _ARRAYS}
    arrays["positions"] = table.positions.astype(np.uint8)
    words = {"space": json.dumps(table.space.describe()), "device": table.device}
    with replacing(path) as part, part.open("wb") as file:
        np.savez_compressed(file, **arrays, **{name: np.array(word) for name, word in words.items()})


def read_table(path: Path = FILE) -> SupernetTable:
    """Return what was written."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in _ARRAYS}
        space = space_from_description(json.loads(str(file["space"])))
        device = str(file["device"])
    arrays["positions"] = arrays["positions"].astype(np.int64)
    return SupernetTable(space=space, device=device, **arrays)
