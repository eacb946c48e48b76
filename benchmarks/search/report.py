"""What many seeds of many methods come to, as markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from benchmarks.search.methods import METHODS
from benchmarks.search.results import Result, is_stale
from benchmarks.search.tables import BenchmarkTable
from nas.space import FloatArray, IntArray

LEVELS = (0.95, 0.99, 0.999)
SMALLEST = 1e-4  # where nothing is missing any more, a logarithm ends
Measure = Callable[[Result, int], float]
"""Of a result after so many evaluations."""


def ratio(result: Result, budget: int) -> float:
    return result.hypervolume[min(budget, len(result.rows)) - 1]


def reached(result: Result, budget: int) -> bool:
    """Whether a result says something about that budget; a method that stopped by itself stays where it is."""
    return len(result.rows) >= budget or (len(result.rows) > 0 and result.stopped != "spent")


def make_found_share(chosen: BenchmarkTable) -> Measure:
    return lambda result, budget: chosen.table.measure_found_share(_rows(result, budget))


def adrs(chosen: BenchmarkTable) -> Measure:
    return lambda result, budget: chosen.table.adrs(_rows(result, budget))


def evaluations_to(results: Sequence[Result], level: float) -> float:
    """Return the median number of evaluations until the ratio is ``level``; infinity if half never got there."""
    counts = []
    for result in results:
        there = np.flatnonzero(np.array(result.hypervolume) >= level)
        counts.append(float(there[0]) + 1 if len(there) else np.inf)
    return float(np.median(counts))


def seconds_per_100(results: Sequence[Result]) -> float:
    """Return the median CPU seconds that the method took per 100 evaluations, over all it was given."""
    return float(np.median([100 * r.seconds[-1] / len(r.seconds) for r in results if r.seconds]))


def line(chosen: BenchmarkTable, name: str, results: Sequence[Result]) -> str:
    """Return one method on one table in one line."""
    cells = [f"{budget}: {quartiles(results, ratio, budget)}" for budget in chosen.budgets]
    levels = "/".join(map(str, LEVELS))
    cells.append(f"to {levels}: {'/'.join(_evaluations_to(results, level) for level in LEVELS)}")
    if name == "digits":
        distances = [_adrs(adrs(chosen))(results, budget) for budget in chosen.budgets]
        cells.append(f"mean ADRS {' '.join(distances)}")
    cells.append(f"{seconds_per_100(results):.1f} s/100")
    return f"{name} {_title(results)} | {len(results)} seeds | {' | '.join(cells)}"


def tables(chosen: BenchmarkTable, by_method: Sequence[Sequence[Result]]) -> str:
    """Return everything about one table; best method at the second budget first."""
    present = sorted((r for r in by_method if r), key=lambda r: -_rank(r, chosen.budgets[1]))
    front = chosen.table
    names = " × ".join(objective.name for objective in front.objectives)
    text = [
        f"### {chosen.title}",
        f"{front.num_architectures:,} architectures, objectives {names}, "
        f"counted: {', '.join(sorted(front.counted)) or 'none'}. "
        f"True front {len(front.true_front)} points, hypervolume {front.front_hypervolume:.4f}. "
        "Unique evaluations; – was not run that far, >n not reached in the n it was run for.",
        "Hypervolume ratio, median (quartiles) over seeds; median evaluations to a ratio; CPU seconds of the "
        "optimizer per 100 evaluations.",
        _markdown(
            [
                "method",
                "seeds",
                *map(str, chosen.budgets),
                *(f"to {level}" for level in LEVELS),
                "CPU s / 100",
            ],
            [
                [
                    _title(results),
                    str(len(results)),
                    *(quartiles(results, ratio, budget) for budget in chosen.budgets),
                    *(_evaluations_to(results, level) for level in LEVELS),
                    f"{seconds_per_100(results):.1f}",
                ]
                for results in present
            ],
        ),
        "1 - ratio, median (geometric mean); share of the true front found, median.",
        _by_budget(chosen, present, _missing(make_found_share(chosen))),
    ]
    if name_of(present) == "digits":
        text += ["ADRS, mean over seeds (median).", _by_budget(chosen, present, _adrs(adrs(chosen)))]
    short = sorted(
        {_title(r) for r in present if len(r[0].rows) < chosen.budgets[-1] and r[0].stopped == "spent"}
    )
    if short:
        text.append(
            f"Given fewer evaluations than the last column, for the time they take: {', '.join(short)}."
        )
    if any(is_stale(result) for results in present for result in results):
        text.append("\\* made by another state of our code than the present one.")
    return "\n\n".join(text)


def name_of(by_method: Sequence[Sequence[Result]]) -> str:
    return by_method[0][0].table if by_method else ""


def quartiles(results: Sequence[Result], measure: Measure, budget: int) -> str:
    """Return median and quartiles, of those seeds that got so far."""
    values = _values(results, measure, budget)
    if len(values) == 0:
        return "–"
    low, middle, high = np.percentile(values, [25, 50, 75])
    fewer = f" [{len(values)}]" if len(values) < len(results) else ""
    return f"{middle:.3f} ({low:.3f}–{high:.3f}){fewer}"


def _values(results: Sequence[Result], measure: Measure, budget: int) -> FloatArray:
    return np.array([measure(result, budget) for result in results if reached(result, budget)])


def _rows(result: Result, budget: int) -> IntArray:
    return np.array(result.rows[:budget], dtype=np.int64)


def _rank(results: Sequence[Result], budget: int) -> float:
    values = _values(results, ratio, budget)
    return float(np.median(values)) if len(values) else 0.0


def _title(results: Sequence[Result]) -> str:
    return METHODS[results[0].method].title + (" \\*" if any(map(is_stale, results)) else "")


def _evaluations_to(results: Sequence[Result], level: float) -> str:
    count = evaluations_to(results, level)
    return f"{count:.0f}" if np.isfinite(count) else f">{min(len(result.rows) for result in results)}"


def _missing(share: Measure) -> Callable[[Sequence[Result], int], str]:
    def cell(results: Sequence[Result], budget: int) -> str:
        ratios, shares = _values(results, ratio, budget), _values(results, share, budget)
        if not len(ratios):
            return "–"
        mean = np.exp(np.log(np.maximum(1 - ratios, SMALLEST)).mean())
        return f"{1 - np.median(ratios):.1e} ({mean:.1e}); {100 * np.median(shares):.0f} %"

    return cell


def _adrs(measure: Measure) -> Callable[[Sequence[Result], int], str]:
    def cell(results: Sequence[Result], budget: int) -> str:
        values = _values(results, measure, budget)
        return f"{values.mean():.3f} ({np.median(values):.3f})" if len(values) else "–"

    return cell


def _by_budget(
    chosen: BenchmarkTable,
    present: Sequence[Sequence[Result]],
    cell: Callable[[Sequence[Result], int], str],
) -> str:
    rows = [[_title(results), *(cell(results, budget) for budget in chosen.budgets)] for results in present]
    return _markdown(["method", *map(str, chosen.budgets)], rows)


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
