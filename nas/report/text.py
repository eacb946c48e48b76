"""The report of a run, in markdown."""

from __future__ import annotations

from typing import Any

from nas.report.confusion import commonest_confusions
from nas.report.markdown import code, escape
from nas.report.results import AS_GIVEN, FINISHED, Results
from nas.report.tables import (
    alone_table,
    compression_table,
    details_table,
    front_table,
    proxy_table,
    tell_counted,
    tell_kept,
    trust_table,
    winners_table,
)

_ON_CARDS = ("inputs", "num_words", "pixel_range")
"""Facts of the data that only somebody who uses a winner needs."""
_TOLD_ABOVE = {
    "zero_cost",
    *("seconds", "space", "ended", "forecast", "epochs"),
    *("winners_chosen_by", "adaptation", "counted", "outside_weights", "hub_dataset", "sources"),
    *("pretrained", "searched_variant"),
}
"""Facts that have a sentence of their own."""


def report_markdown(results: Results) -> str:
    """Return the whole report; pictures are named relative to the run directory."""
    facts = results.facts
    sections = [
        f"# {escape(results.study)}",
        *_summary(results),
        "![front](front.png)",
        *_winners(results),
        "## Can the search's numbers be trusted?",
        *_trust(results),
        *_proxy(results),
        *_tell_untrained(results),
        *_hypervolume(results),
        *_baselines(results),
        *_search_front(results),
        *_failures(results),
        "## How it was made",
        "\n".join(f"- {escape(name)}: {escape(value)}" for name, value in _flatten_facts(facts)),
    ]
    return "\n\n".join(sections) + "\n"


def _summary(results: Results) -> list[str]:
    facts, trials = results.facts, results.trials
    return [
        f"{facts['space']['cardinality']} architectures in {facts['space']['num_choices']} choices; "
        f"{trials['complete']} evaluated, {trials['failed']} failed, "
        f"{trials['turned_down']} turned down unpaid, "
        f"{trials['repeated']} proposed again and answered from the record.",
        *map(escape, facts.get("soft_limits", [])),
        *map(escape, facts.get("predicted", [])),
        *[escape(f"{sentence[0].upper()}{sentence[1:]}") for sentence in facts.get("doubts", [])],
        _durations(facts["seconds"]),
        *_tell_ending(facts),
    ]


def _winners(results: Results) -> list[str]:
    facts = results.facts
    return [
        "## Winners",
        "Every row was measured on the exported file: quality on the test split, by which nothing in this run was "
        "trained, searched or chosen; latency with all rows taking turns; ± is one standard deviation. The final front "
        f"is taken over all rows of winners{_within(facts)} and all columns.{_ties(results)}",
        *filter(None, [escape(tell_counted(results)), escape(facts.get("outside_weights") or "")]),
        *_tell_pretraining(facts),
        " ".join([f"Chosen by {facts['winners_chosen_by']}.", *_adaptation(facts)]),
        winners_table(results).markdown(),
        *_original(results),
        *_warn_of_kept(results),
        *_compression(results),
        *_details(results),
        *_confusion(results),
    ]


def _hypervolume(results: Results) -> list[str]:
    history = results.hypervolume
    if not history:
        return ["## Hypervolume", "Fewer than ten evaluations: no reference box."]
    told = (
        f"{history[-1]:.4f} after {len(history)} evaluations, as a multiple of the box "
        "that the first ten spanned; the reference point lies a tenth of the range beyond its worst corner."
    )
    return ["## Hypervolume", told, "![hypervolume](hypervolume.png)"]


def _search_front(results: Results) -> list[str]:
    rows = [(results.trial_numbers[row], results.ids[row], results.values[row]) for row in results.front]
    return ["## The search's front", front_table(results.objectives, rows).markdown()]


def _adaptation(facts: dict[str, Any]) -> list[str]:
    told = facts.get("adaptation")  # older runs lack it
    return [f"{told[0].upper()}{told[1:]}."] if told else []


def _tell_pretraining(facts: dict[str, Any]) -> list[str]:
    told = facts.get("pretrained")  # older runs lack it
    return [escape(told)] if told else []


def _original(results: Results) -> list[str]:
    if not results.original:
        return []
    states = {
        AS_GIVEN: "with the weights that the study started from",
        FINISHED: "trained in the supernet and then fine-tuned like the winners",
    }
    told = ", and ".join(f"*{o.state}*, {states[o.state]}" for o in results.original)
    return [f"The original network is the one that was converted, whole: {told}. It is on no front."]


def _warn_of_kept(results: Results) -> list[str]:
    return [
        escape(f"Warning: {winner.id}: {tell_kept(winner.fine_tuned, winner.kept, results.quality)}.")
        for winner in results.winners
        if winner.kept
    ]


def _compression(results: Results) -> list[str]:
    table = compression_table(results)
    if table is None:
        return []
    return [
        "### What compression bought",
        "Each variant beside the float32 file of the same winner, of which it was made. A variant that is worse than "
        "that in every column that differs is not shipped.",
        table.markdown(),
    ]


def _within(facts: dict[str, Any]) -> str:
    return " that meet the limits, or come nearest to that," if facts.get("soft_limits") else ""


def _ties(results: Results) -> str:
    if not any(variant.tied_with for winner in results.winners for variant in winner.variants):
        return ""
    return (
        " Of rows that are tied one would dominate the other, but measuring again didn't tell which: they differ by no "
        "more than the noise."
    )


def _trust(results: Results) -> list[str]:
    known = [
        *[
            escape(f"Predictions made before their trials: {sentence}.")
            for sentence in results.facts["surrogate"]
        ],
        *[escape(f"Known from elsewhere: {sentence}") for sentence in results.facts.get("sources", [])],
        "Of the winners, the first three columns are of the search split. The prediction was made before the trial "
        "was evaluated.",
        trust_table(results).markdown(),
    ]
    if results.trust is None:
        given = ", ".join(f"{epochs} to {count}" for epochs, count in results.facts["epochs"].items())
        return [
            f"Every candidate was trained by itself, so there is no supernet to doubt. Epochs given to candidates: "
            f"{given}.",
            *known,
        ]
    return [
        *results.trust.sentences(results.objectives),
        "Intervals are bootstraps over architectures. The winners come first; the others are spread over the "
        "sizes of what was evaluated.",
        alone_table(results.trust, results.quality).markdown(),
        *known,
    ]


def _proxy(results: Results) -> list[str]:
    if results.proxy is None:
        return []
    chosen = results.proxy["chosen"]
    used = (
        f"{chosen['items']} items ({chosen['share']:.0%} of the search split)"
        if chosen
        else "the whole search split, because no part ranked well enough"
    )
    return [
        "## What candidates were evaluated on",
        f"Candidates were evaluated on {used}: the smallest part of which nine draws in ten rank "
        f"{results.proxy['architectures']} architectures with a Kendall's tau of {results.proxy['min_tau']} or more "
        "against the whole. Winners were evaluated on the whole.",
        proxy_table(results.proxy).markdown(),
    ]


def _tell_untrained(results: Results) -> list[str]:
    sentences = results.facts.get("zero_cost")
    return ["## What untrained networks told", escape(" ".join(sentences))] if sentences else []


def _durations(seconds: dict[str, float]) -> str:
    return "Seconds spent: " + ", ".join(f"{name} {spent:.0f}" for name, spent in seconds.items()) + "."


def _tell_ending(facts: dict[str, Any]) -> list[str]:
    sentences = []
    if facts.get("ended"):
        sentences.append(escape(f"The search ended because {facts['ended']}."))
    if facts.get("forecast"):
        sentences.append(escape(f"Forecast: {facts['forecast']}."))
    return [" ".join(sentences)] if sentences else []


def _baselines(results: Results) -> list[str]:
    if not results.baselines:
        return []
    last = results.hypervolume[-1] if results.hypervolume else 0.0
    lines = [f"- this search: {last:.4f} after {len(results.hypervolume)} evaluations, as it evaluated them"]
    if results.finished_hypervolume is not None:
        lines.append(
            f"- its {len(results.winners)} winners, finished: {results.finished_hypervolume:.4f}; "
            "the figure to compare with training from scratch"
        )
    lines += [
        f"- {b.name}: {b.hypervolume[-1]:.4f} after {len(b.hypervolume)} evaluations ({b.note})"
        for b in results.baselines
        if b.hypervolume
    ]
    return ["## Baselines", "Hypervolume in the same box, all of the search split:", "\n".join(lines)]


def _failures(results: Results) -> list[str]:
    if not results.failures:
        return []
    return ["## Failed evaluations", "\n".join(f"- {escape(failure)}" for failure in results.failures)]


def _flatten_facts(facts: dict[str, object]) -> list[tuple[str, object]]:
    flat: list[tuple[str, object]] = []
    for name, value in facts.items():
        if isinstance(value, dict) and name in ("data", "machine"):
            flat += [(f"{name} {key}", inner) for key, inner in value.items() if key not in _ON_CARDS]
        elif name not in _TOLD_ABOVE:
            flat.append((name, value))
    return flat


def _details(results: Results) -> list[str]:
    table = details_table(results)
    if table is None:
        return []
    said = f"{escape(results.quality.name)} of each winner's float32 file on the test split."
    return ["## By class", said, table.markdown()]


def _confusion(results: Results) -> list[str]:
    """Return a picture of the winner that was best before the test split was read; all have one in their folders."""
    confused = [winner for winner in results.winners if winner.confusions]
    if not confused:
        return []
    best = min(confused, key=lambda winner: results.quality.cost(winner.exported.value))
    said = commonest_confusions(best.confusions["test"], results.facts["task"]["names"])
    return [
        "## Which classes are taken for which",
        f"By {code(best.id)}, the best winner on the search split, in its float32 file; the others have such a picture "
        f"in their folders. {escape(said)}",
        f"![confusion](winners/{best.id}/confusion.png)",
    ]
