"""Tables of a run, as rows of text; who prints them decides how they look."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from nas.compression.pipeline import PLAIN
from nas.objective import Measurement, Objective
from nas.report.markdown import escape
from nas.report.results import FILE_BYTES, Results, Variant
from nas.report.trust import TrustResult


@final
@dataclass(frozen=True)
class Table:
    """A head and rows of equal length: of text, or of what is :class:`Marked` as Markdown."""

    head: list[str]
    rows: list[list[str]]

    def markdown(self) -> str:
        """Return the table in GitHub's markdown."""
        head, *rows = ([escape(cell) for cell in line] for line in (self.head, *self.rows))
        lines = [head, ["---"] * len(head), *rows]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def choose_unit(objective: Objective, values: Iterable[float]) -> tuple[str, float]:
    """Return the unit to show values in, and the factor to it: rates are shown in percent, bytes in KiB."""
    if objective.is_rate(values):
        return "%", 100.0
    return ("KiB", 1 / 1024) if objective.unit == "B" else (objective.unit, 1.0)


def format_value(value: float, objective: Objective) -> str:
    """Return a value with the digits that mean something: rates as percent, counts with thousands."""
    unit, factor = choose_unit(objective, [value])
    if unit == "%":
        return f"{factor * value:.2f} %"
    if unit == "KiB":
        return f"{factor * value:.1f} KiB"
    number = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{number} {unit}".rstrip()


def with_spread(measurement: Measurement, objective: Objective) -> str:
    """Return value and standard deviation."""
    if measurement.spread == 0:
        return format_value(measurement.value, objective)
    unit, factor = choose_unit(objective, [measurement.value])
    number = format_value(measurement.value, objective).removesuffix(f" {unit}")
    return f"{number} ± {factor * measurement.spread:.2g} {unit}".rstrip()


def winners_table(results: Results) -> Table:
    """Return every variant of every winner, the final front and what it dominates; then the original network's."""
    measured = [*results.objectives, FILE_BYTES]
    head = ["model", "variant", *(label(o.name) for o in measured), "on front"]
    named = [(w.id, v, v.place) for w in results.winners for v in w.variants]
    named += [(o.name, v, _beside(v)) for o in results.original for v in o.variants]
    rows = [
        [name, variant.name, *(with_spread(variant.values[o.name], o) for o in measured), place]
        for name, variant, place in named
    ]
    return Table(head, rows)


def final_front_table(results: Results) -> Table:
    """Return the variants on the final front, best quality first, and where some are tied, with which."""
    measured, quality = [*results.objectives, FILE_BYTES], results.quality
    members = [(w.id, v) for w in results.winners for v in w.variants if v.on_front]
    members.sort(key=lambda member: quality.cost(member[1].values[quality.name].value))
    last = ["tied with"] if any(v.tied_with for _, v in members) else []
    rows = [
        [
            id_,
            v.name,
            *(with_spread(v.values[o.name], o) for o in measured),
            *(", ".join(v.tied_with) for _ in last),
        ]
        for id_, v in members
    ]
    return Table(["model", "variant", *(label(o.name) for o in measured), *last], rows)


def compression_table(results: Results) -> Table | None:
    """Return what each compressed variant of a winner is beside its float32 one; None where there is none."""
    others = [o for o in [*results.objectives[1:], FILE_BYTES] if o.direction == "minimize"]
    rows = []
    for winner in results.winners:
        plain = winner.variants[0]
        for variant in winner.variants[1:]:
            ratios = [_less(plain.values[o.name].value, variant.values[o.name].value) for o in others]
            rows.append(
                [
                    winner.id,
                    variant.name,
                    "; ".join(variant.applied),
                    *ratios,
                    _format_gain(plain, variant, results.quality),
                ]
            )
    heads = [f"{label(o.name)}, times less" for o in others]
    return (
        Table(["model", "variant", "what was done", *heads, f"{label(results.quality.name)}, change"], rows)
        if rows
        else None
    )


def _less(before: float, after: float) -> str:
    return f"{before / after:.2f}" if before > 0 and after > 0 else "–"


def _format_gain(before: Variant, after: Variant, quality: Objective) -> str:
    """Return how much a quality rose, with the sign, in points where it is a rate."""
    old, new = before.values[quality.name].value, after.values[quality.name].value
    unit, factor = choose_unit(quality, [old, new])
    return f"{factor * (new - old):+.3g} {'points' if unit == '%' else unit}".rstrip()


def details_table(results: Results) -> Table | None:
    """Return the winners' quality by class, or whatever else it is a mean of; None where it has no such parts."""
    if not any(winner.details for winner in results.winners):
        return None
    quality, names = results.quality, results.facts["task"]["names"]
    rows = [
        [
            names[number] if names else str(number),
            *("–" if value is None else format_value(value, quality) for value in values),
        ]
        for number, values in enumerate(zip(*(w.details for w in results.winners), strict=True))
    ]
    return Table(["", *(winner.id for winner in results.winners)], rows)


def _beside(variant: Variant) -> str:
    """Return how a variant of the original network, which is on no front, stands to the winners."""
    return "not dominated" if variant.on_front else "dominated"


def trust_table(results: Results) -> Table:
    """Return the winners' quality as predicted, in the search, and after fine-tuning: of the file that was searched."""
    quality = results.quality
    head = ["model", "trial", "surrogate predicted", "in the search", "fine-tuned", "exported, test split"]
    rows = [
        [
            winner.id,
            str(winner.trial),
            "–" if winner.predicted is None else format_value(winner.predicted, quality),
            format_value(winner.searched[quality.name].value, quality),
            format_value(winner.fine_tuned.value, quality) + (", not kept" if winner.kept else ""),
            _format_exported(results.as_searched(winner), quality),
        ]
        for winner in results.winners
    ]
    return Table(head, rows)


def _format_exported(variant: Variant, quality: Objective) -> str:
    value = format_value(variant.values[quality.name].value, quality)
    return value if variant.name == PLAIN else f"{value} ({variant.name})"


def tell_kept(fine_tuned: Measurement, kept: Measurement, quality: Objective) -> str:
    """Return what is said of a winner that fine-tuning made worse: quality on the search split, after and before."""
    after, before = (format_value(measurement.value, quality) for measurement in (fine_tuned, kept))
    return (
        f"fine-tuning made it worse ({after} after {before} on the search split), so the weights that it had in the "
        "search were kept"
    )


def alone_table(trust: TrustResult, quality: Objective) -> Table:
    """Return every architecture of the trust check, with its rank by either quality."""
    by_search = _ranks([quality.cost(row.searched) for row in trust.rows])
    by_itself = _ranks([quality.cost(row.alone) for row in trust.rows])
    head = ["architecture", "trial", "winner", "supernet", "rank", trust.how, "rank alone"]
    rows = [
        [
            row.id,
            str(row.trial),
            "yes" if row.winner else "no",
            format_value(row.searched, quality),
            str(before),
            format_value(row.alone, quality),
            str(after),
        ]
        for row, before, after in zip(trust.rows, by_search, by_itself, strict=True)
    ]
    return Table(head, rows)


def proxy_table(proxy: Mapping[str, Any]) -> Table:
    """Return how well parts of the search split rank, by their size."""
    rows = [
        [f"{s['share']:.0%}", str(s["items"]), f"{s['mean_tau']:.3f}", f"{s['low_tau']:.3f}"]
        for s in proxy["sizes"]
    ]
    return Table(["part", "items", "tau, mean", "tau, nine in ten reach"], rows)


def _ranks(costs: Sequence[float]) -> list[int]:
    """Return 1 for the lowest cost, and so on; equal costs share a rank."""
    return [1 + sum(other < cost for other in costs) for cost in costs]


def front_table(objectives: tuple[Objective, ...], trials: list[tuple[int, str, list[float]]]) -> Table:
    """Return front members of a search, best quality first.

    Args:
        objectives: In the order of the values.
        trials: Number, architecture id and values of each.
    """
    ordered = sorted(trials, key=lambda t: objectives[0].cost(t[2][0]))
    rows = [
        [str(number), id_, *(format_value(v, o) for v, o in zip(values, objectives, strict=True))]
        for number, id_, values in ordered
    ]
    return Table(["trial", "architecture", *(label(o.name) for o in objectives)], rows)


def label(name: str) -> str:
    """Return an objective's name in words, without the unit."""
    return " ".join(part for part in name.split("_") if part != "ms")


def tell_counted(results: Results) -> str:
    """Return what the counted columns of exported files are counted on; empty where nothing is counted."""
    counted = results.facts.get("counted", {})  # older runs lack it
    kinds = {kind: [name for name, of in counted.items() if of == kind] for kind in ("architecture", "file")}
    on_architecture, on_file = (", ".join(kinds[kind]) for kind in ("architecture", "file"))
    sentences = []
    if on_architecture:
        sentences.append(f"Counted on the architecture, and the same for all its files: {on_architecture}.")
    if on_file:
        sentences.append(
            f"Counted on each file: {on_file}; fp32 with 4 bytes for each parameter, another file by the numbers that "
            "it stores."
        )
    return " ".join(sentences)
