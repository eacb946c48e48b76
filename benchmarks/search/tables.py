"""The tables that searches are compared on."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.tables.oracle import FRONT, supernet_oracle
from benchmarks.tables.supernet import read_table
from nas.choices import choice
from nas.errors import DataError
from nas.objective import Objective
from nas.space import SearchSpace
from search_spaces.answers import Answers
from search_spaces.digits_mlp import digits_mlp_table
from search_spaces.tabular import EvaluatedSpace

NB201_FILE = Path("nb201") / "nb201.npz"
NB201_BUDGETS = (25, 50, 100, 200, 400)
SUPERNET_BUDGETS = (25, 50, 100, 200, 300, 1_000)
DIGITS_BUDGETS = (13, 26, 39, 52, 78)  # 5, 10, 15, 20 and 30 % of 258


@dataclass(frozen=True)
class BenchmarkTable:
    """A table, and where searches on it are judged.

    Args:
        table: Everything that can be asked.
        title: For reports.
        budgets: Numbers of evaluations.
        digest: Changes when the table does.
    """

    table: Answers
    title: str
    budgets: tuple[int, ...]
    digest: str


@dataclass(frozen=True)
class _Nb201:
    """Columns of NAS-Bench-201 (Dong and Yang 2020) that make a table."""

    title: str
    error_of: str
    others: tuple[tuple[str, str], ...]  # column and unit
    counted: frozenset[str] = frozenset()
    whole: bool = False  # measured to whole units, as a phone's profiler prints them: many ties


_NB201 = {
    "nb201-2": _Nb201(
        "NAS-Bench-201, CIFAR-10: error × latency on a 1080 Ti",
        "acc12_cifar10_valid",
        (("lat_ms_1080ti_1", "ms"),),
    ),
    "nb201-3": _Nb201(
        "NAS-Bench-201, CIFAR-10: error × FLOPs (counted) × latency on a Pixel 3",
        "acc12_cifar10_valid",
        (("flops_m_cifar10", "M"), ("lat_ms_pixel3", "ms")),
        frozenset({"flops_m_cifar10"}),
    ),
    "nb201-c100": _Nb201(
        "NAS-Bench-201, CIFAR-100: error × parameters (counted) × latency on a Raspberry Pi 4",
        "acc12_cifar100_valid",
        (("params_m_cifar100", "M"), ("lat_ms_raspi4", "ms")),
        frozenset({"params_m_cifar100"}),
    ),
    "nb201-s7": _Nb201(
        "NAS-Bench-201, CIFAR-100, 200 epochs: error × FLOPs (counted) × latency on a Samsung S7",
        "acc200_cifar100_test",
        (("flops_m_cifar10", "M"), ("lat_ms_samsung_s7", "ms")),
        frozenset({"flops_m_cifar10"}),
    ),
    "nb201-pixel2": _Nb201(
        "NAS-Bench-201, CIFAR-10, test images: error × parameters (counted) × latency on a Pixel 2",
        "acc12_cifar10_test",
        (("params_m_cifar10", "M"), ("lat_ms_pixel2", "ms")),
        frozenset({"params_m_cifar10"}),
    ),
    "nb201-gold": _Nb201(
        "NAS-Bench-201, CIFAR-10, 200 epochs: error × FLOPs (counted) × latency on a Xeon Gold 6226",
        "acc200_cifar10_test",
        (("flops_m_cifar10", "M"), ("lat_ms_gold_6226", "ms")),
        frozenset({"flops_m_cifar10"}),
    ),
    "nb201-1080ti-256": _Nb201(
        "NAS-Bench-201, CIFAR-100, 200 epochs: error × parameters (counted) × latency on a 1080 Ti, batches of 256",
        "acc200_cifar100_test",
        (("params_m_cifar100", "M"), ("lat_ms_1080ti_256", "ms")),
        frozenset({"params_m_cifar100"}),
    ),
    "nb201-2-coarse": _Nb201(
        "NAS-Bench-201, CIFAR-10: error × latency on a Pixel 2 in whole milliseconds",
        "acc12_cifar10_valid",
        (("lat_ms_pixel2", "ms"),),
        whole=True,
    ),
    "nb201-2-s7": _Nb201(
        "NAS-Bench-201, CIFAR-100, 200 epochs: error × latency on a Samsung S7 in whole milliseconds",
        "acc200_cifar100_test",
        (("lat_ms_samsung_s7", "ms"),),
        whole=True,
    ),
    "nb201-2-gold": _Nb201(
        "NAS-Bench-201, CIFAR-10, 200 epochs: error × latency on a Xeon Gold 6226",
        "acc200_cifar10_test",
        (("lat_ms_gold_6226", "ms"),),
    ),
    "nb201-3-coarse": _Nb201(
        "NAS-Bench-201, CIFAR-100: error × FLOPs (counted) × latency on a 1080 Ti (32), whole milliseconds",
        "acc12_cifar100_valid",
        (("flops_m_cifar10", "M"), ("lat_ms_1080ti_32", "ms")),
        frozenset({"flops_m_cifar10"}),
        whole=True,
    ),
}

SUPERNET = "fashion-supernet"
NAMES = (*_NB201, "digits", SUPERNET)
USUAL = ("nb201-2", "nb201-3", "nb201-c100", "digits")
"""Those that are run when none is named; on the others changes of our search are checked."""


@functools.cache
def load(name: str, data: Path | None) -> BenchmarkTable:
    """Return a table by its name.

    Args:
        name: One of ``NAMES``.
        data: Folder that holds ``nb201/nb201.npz``; ``digits`` and ``fashion-supernet`` need none.

    Raises:
        DataError: the file is not there.
    """
    if name == "digits":
        title = "Digits perceptrons, 258 networks: error × cost (counted)"
        return _with_digest(digits_mlp_table(), title, DIGITS_BUDGETS)
    if name == SUPERNET:
        title = "A supernet of Fashion-MNIST, 1.4e9 architectures: error × MACs (counted) × latency, modelled"
        digest = hashlib.sha256((read_table().digest + FRONT.read_bytes().hex()).encode()).hexdigest()[:12]
        return BenchmarkTable(supernet_oracle(), title, SUPERNET_BUDGETS, digest)
    if data is None or not (data / NB201_FILE).is_file():
        raise DataError(
            f"table {name!r} needs {NB201_FILE} and it is not in {data}: give the folder that holds it with --data or "
            "in the environment variable NAS_DATA, or take --table digits."
        )
    return _with_digest(_nb201(name, data / NB201_FILE), _NB201[name].title, NB201_BUDGETS)


def _nb201(name: str, path: Path) -> EvaluatedSpace:
    recipe = _NB201[name]
    with np.load(path) as arrays:
        options = [str(option) for option in arrays["op_names"]]
        edges = [str(edge) for edge in arrays["edge_names"]]
        error = 100.0 - arrays[recipe.error_of].astype(np.float64)
        others = [arrays[column].astype(np.float64) for column, _ in recipe.others]
        if recipe.whole:
            rounded = zip(recipe.others, others, strict=True)
            others = [v if column in recipe.counted else np.rint(v) for (column, _), v in rounded]
        positions = arrays["ops"].astype(np.int64)
    objectives = tuple(
        Objective(column, unit, "minimize") for column, unit in (("error", "%"), *recipe.others)
    )
    space = SearchSpace(tuple(choice(edge, *options) for edge in edges))
    return EvaluatedSpace(
        name, space, objectives, positions, np.column_stack([error, *others]), recipe.counted
    )


def _with_digest(table: EvaluatedSpace, title: str, budgets: tuple[int, ...]) -> BenchmarkTable:
    digest = hashlib.sha256()
    for array in (table.positions, table.values):
        digest.update(np.ascontiguousarray(array).tobytes())
    return BenchmarkTable(table, title, budgets, digest.hexdigest()[:12])
