"""One result per table, method and seed: made, kept as a line of JSON, and read again."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import optuna

from benchmarks.search import tables
from benchmarks.search.ledger import Ledger, SpentError, StuckError
from benchmarks.search.methods import METHODS
from benchmarks.search.tables import BenchmarkTable

ROOT = Path(__file__).parents[2]
CODE = ("nas/search", "surrogates", "nas/pareto.py", "nas/choices.py", "nas/space.py", "nas/strategy.py")


@dataclass(frozen=True)
class Result:
    """What one method did on one table with one seed.

    Args:
        table: By name.
        method: By name.
        seed: Seed of the method.
        evaluations: How many it was given.
        stopped: ``spent`` when it used them, ``stuck`` when it asked for nothing new any more, ``ended`` when it
            stopped by itself.
        rows: Rows of the table, in the order they were first asked for.
        hypervolume: Ratio after each of them.
        seconds: CPU seconds of the method until each of them.
        digest: Digest of the table.
        code: Code of our search, for methods of ours; empty for others.
    """

    table: str
    method: str
    seed: int
    evaluations: int
    stopped: str
    rows: tuple[int, ...]
    hypervolume: tuple[float, ...]
    seconds: tuple[float, ...]
    digest: str
    code: str


def run(name: str, data: Path | None, method: str, seed: int, evaluations: int) -> Result:
    """Run a method on a table."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    chosen = tables.load(name, data)
    ledger = Ledger(chosen.table, evaluations)
    stopped = "ended"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            METHODS[method].run(ledger, seed)
    except SpentError:
        stopped = "spent"
    except StuckError:
        stopped = "stuck"
    if len(ledger.rows) >= ledger.evaluations:
        stopped = "spent"
    history = chosen.table.hypervolume_history(np.array(ledger.rows, dtype=np.int64))
    return Result(
        table=name,
        method=method,
        seed=seed,
        evaluations=ledger.evaluations,
        stopped=stopped,
        rows=tuple(ledger.rows),
        hypervolume=tuple(round(ratio, 9) for ratio in history.tolist()),
        seconds=tuple(round(seconds, 4) for seconds in ledger.seconds),
        digest=chosen.digest,
        code=CODE_DIGEST if METHODS[method].ours else "",
    )


def _code_digest() -> str:
    digest = hashlib.sha256()
    for part in CODE:
        path = ROOT / part
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(file.relative_to(ROOT).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


CODE_DIGEST = _code_digest()
"""Of the files that our proposals depend on, as they were when this process imported them."""


class Store:
    """Results in a folder: a file per table and method, a line per result, the last one of a seed counts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, chosen: BenchmarkTable, name: str, method: str) -> list[Result]:
        """Return the results on this very table, by seed; others and half-written lines are left out, with a word."""
        path = self._path(name, method)
        found: dict[int, Result] = {}
        for number, line in enumerate(path.read_text().splitlines() if path.exists() else [], start=1):
            try:
                values = json.loads(line)
            except json.JSONDecodeError:
                print(f"{path}:{number} is not whole (a killed run?) and is left out")
                continue
            lists = {key: tuple(values[key]) for key in ("rows", "hypervolume", "seconds")}
            result = Result(**{**values, **lists})
            if result.digest == chosen.digest:
                found[result.seed] = result
        return [found[seed] for seed in sorted(found)]

    def add(self, result: Result) -> None:
        """Append a result."""
        path = self._path(result.table, result.method)
        path.parent.mkdir(parents=True, exist_ok=True)
        broken = path.exists() and not path.read_bytes().endswith(b"\n")
        with path.open("a") as file:
            file.write(("\n" if broken else "") + json.dumps(dataclasses.asdict(result)) + "\n")

    def _path(self, name: str, method: str) -> Path:
        return self._folder / name / f"{method}.jsonl"


def serves(result: Result, evaluations: int) -> bool:
    """Whether a stored result answers for that many evaluations and for the code as it is."""
    long_enough = result.evaluations >= evaluations or result.stopped != "spent"
    return long_enough and not is_stale(result)


def is_stale(result: Result) -> bool:
    """Whether a result of ours was made by other code than there is now."""
    return METHODS[result.method].ours and result.code != CODE_DIGEST
