"""How few evaluations a search needs, on tables whose true front is known: ours beside its peers.

    python -m benchmarks.search --data FOLDER                               # everything; hours, mostly GPSampler's
    python -m benchmarks.search --table nb201-2 --methods ours --seeds 10 --evaluations 200
    python -m benchmarks.search --table nb201-2 nb201-3 --ablation --evaluations 100
    python -m benchmarks.search --table nb201-s7 --methods ours no-turns no-exploration
    python -m benchmarks.search --report --plot docs/search.png             # from what is stored, nothing is run

FOLDER (or the environment variable NAS_DATA) holds ``nb201/nb201.npz``, NAS-Bench-201 with measured latencies;
without it, the digits table alone is run. Results are kept, one line of JSON per table, method and seed, so a
benchmark that was stopped goes on; those of ours are made again when our code has changed, all when the table has.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import multiprocessing
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from benchmarks.search import report, results, tables
from benchmarks.search.methods import ABLATION, METHODS
from benchmarks.search.plot import plot
from benchmarks.search.results import Result, Store
from nas.errors import NasError


def main() -> None:
    arguments = _parse()
    data = arguments.data
    names = arguments.table or [n for n in tables.USUAL if n == "digits" or data is not None]
    store = Store(arguments.out)
    if not arguments.table and data is None:
        print("NAS-Bench-201 is left out: give its folder with --data or in NAS_DATA")
    if not arguments.report:
        for method in arguments.methods:
            for name in names:
                made = _complete(store, name, method, arguments)
                print(report.line(tables.load(name, data), name, made), flush=True)
    if arguments.report or arguments.plot:
        chosen = {name: tables.load(name, data) for name in names}
        found = {name: [store.read(chosen[name], name, m) for m in arguments.methods] for name in names}
        for name in names:
            print("\n" + report.tables(chosen[name], found[name]))
        if arguments.plot:
            plot(arguments.plot, found, chosen)


def _complete(store: Store, name: str, method: str, arguments: argparse.Namespace) -> list[Result]:
    """Return a result per seed, of which those that were missing are made now."""
    chosen = tables.load(name, arguments.data)
    evaluations = min(
        arguments.evaluations or METHODS[method].patience or chosen.budgets[-1], chosen.budgets[-1]
    )
    stored = {} if arguments.fresh else {r.seed: r for r in store.read(chosen, name, method)}
    kept = {
        seed: r for seed, r in stored.items() if results.serves(r, evaluations) and seed < arguments.seeds
    }
    missing = [seed for seed in range(arguments.seeds) if seed not in kept]
    for result in _run(name, method, missing, evaluations, arguments):
        store.add(result)
        kept[result.seed] = result
    return [kept[seed] for seed in sorted(kept)]


def _run(
    name: str, method: str, seeds: Sequence[int], evaluations: int, arguments: argparse.Namespace
) -> Iterator[Result]:
    """Yield results as they are finished."""
    if arguments.jobs == 1 or len(seeds) < 2:
        for seed in seeds:
            yield results.run(name, arguments.data, method, seed, evaluations)
        return
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(arguments.jobs, context, torch.set_num_threads, (1,)) as pool:
        futures = [
            pool.submit(results.run, name, arguments.data, method, seed, evaluations) for seed in seeds
        ]
        for future in concurrent.futures.as_completed(futures):
            yield future.result()


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.search",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    data = os.environ.get("NAS_DATA")
    parser.add_argument(
        "--table", nargs="+", choices=tables.NAMES, help="default: the usual four whose data is there"
    )
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), help="default: all but variants")
    parser.add_argument("--ablation", action="store_true", help="ours, and ours with one part changed")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--evaluations", type=int, help="default: what the method's own time makes bearable")
    parser.add_argument("--jobs", type=int, default=1, help="processes, one seed each")
    parser.add_argument("--data", type=Path, default=Path(data) if data else None)
    parser.add_argument("--out", type=Path, default=Path("runs/search-benchmark"))
    parser.add_argument("--fresh", action="store_true", help="run again what is stored")
    parser.add_argument(
        "--report", action="store_true", help="print the tables of what is stored; run nothing"
    )
    parser.add_argument("--plot", type=Path, help="also print the tables, and draw them into this file")
    arguments = parser.parse_args()
    usual = [method for method in METHODS if method not in ABLATION]
    arguments.methods = arguments.methods or (
        ["ours", "ours-measured", *ABLATION] if arguments.ablation else usual
    )
    return arguments


if __name__ == "__main__":
    torch.set_num_threads(1)  # the models are small, and the seconds printed are those of one core
    try:
        main()
    except NasError as error:
        sys.exit(f"error: {error}")
