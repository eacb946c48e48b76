"""Whether the search's numbers can be trusted: supernet against stand-alone training."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import final

import numpy as np

from nas.agreement import Agreement, find_swapped_pairs, rank_agreement
from nas.objective import Objective
from nas.regret import Regret, regret
from nas.stored import read_stored, write_stored


@final
@dataclass(frozen=True)
class Alone:
    """An architecture that was evaluated in the search and then trained on its own.

    Args:
        id: Id of the architecture.
        trial: Number of the trial that evaluated it.
        winner: Whether it is one of the winners.
        searched: Quality in the search, with the supernet's weights.
        alone: Quality on the whole search split after its own training.
        spread: Spread of ``alone``: how far it would move with other items.
        others: What the search measured of the other objectives, in their order; None where an older run kept none.
    """

    id: str
    trial: int
    winner: bool
    searched: float
    alone: float
    spread: float = 0.0
    others: tuple[float, ...] | None = None


@final
@dataclass(frozen=True)
class TrustResult:
    """What the check found.

    Args:
        how: The training of their own: ``fine-tuned for 12 epochs``.
        recipe: All of its settings, as text.
        rows: The winners first, then architectures from the whole range of sizes.
    """

    how: str
    recipe: str = field(default="", kw_only=True)  # older runs lack it
    rows: tuple[Alone, ...]

    def agreement(self, quality: Objective) -> Agreement | None:
        """Return the rank correlation of both qualities; None where one of them is constant."""
        searched = [-quality.cost(row.searched) for row in self.rows]
        return rank_agreement(searched, [-quality.cost(row.alone) for row in self.rows])

    def regret(self, objectives: Sequence[Objective]) -> Regret | None:
        """Return what the winners lose against all that were trained on their own; None where nobody can tell.

        Args:
            objectives: Objectives of the study, the quality first.
        """
        rows = [(row.alone, *row.others) for row in self.rows if row.others is not None]
        if len(rows) < len(self.rows) or any(len(row) != len(objectives) for row in rows):
            return None
        costs = np.array([[o.cost(value) for o, value in zip(objectives, row, strict=True)] for row in rows])
        winners, spreads = (
            np.array([getattr(row, name) for row in self.rows]) for name in ("winner", "spread")
        )
        return regret(costs, winners, spreads, sampled=True)

    def front_swaps(self) -> tuple[int, int]:
        """Return how many pairs of winners changed places, and how many pairs there are."""
        winners = [row for row in self.rows if row.winner]
        swaps = find_swapped_pairs([w.searched for w in winners], [w.alone for w in winners])
        return len(swaps), len(winners) * (len(winners) - 1) // 2

    def sentences(self, objectives: Sequence[Objective]) -> list[str]:
        """Return what it comes to, for people.

        Args:
            objectives: Objectives of the study, the quality first.
        """
        found, lost = self.agreement(objectives[0]), self.regret(objectives)
        told = (
            [] if lost is None else [regret_sentence(lost, objectives[0], [row.alone for row in self.rows])]
        )
        return [*self._of_ranking(found), *told]

    def save(self, path: Path) -> None:
        """Write as JSON."""
        write_stored(path, asdict(self))

    @classmethod
    def read(cls, path: Path) -> TrustResult:
        """Return what :meth:`save` wrote.

        Raises:
            DamagedFileError: the file is damaged.
            RunDirectoryError: it can't be read.
        """
        return read_stored(path, cls)

    def _why_unchecked(self) -> str:
        count = len(self.rows)
        if count < 2:
            return "it takes two architectures or more, and there is one"
        where = (
            " in the search"
            if len({row.searched for row in self.rows}) == 1
            else f" when they are {self.how}"
        )
        return f"all of {count} architectures are equally good{where}"

    def _of_ranking(self, found: Agreement | None) -> list[str]:
        if found is None:
            return [f"The ranking can't be checked: {self._why_unchecked()}."]
        swaps, pairs = self.front_swaps()
        places = f"; {swaps} of {pairs} pairs of winners changed places" if pairs else ""
        lines = [
            f"Supernet against {self.how}, {found.count} architectures: Kendall's tau {found.tau}, Spearman "
            f"{found.spearman}{places}."
        ]
        if found.few:
            lines.append(
                f"Warning: {found.count} architectures are too few, and the intervals mean nothing: check at least 5 "
                "(Study.trust)."
            )
        elif found.doubtful:
            lines.append(
                f"Warning: tau may be as low as {found.tau.low:.2f}, so the supernet's ranking is weak evidence: "
                "train it for longer, or check more architectures (Study.trust)."
            )
        return lines


def regret_sentence(lost: Regret, quality: Objective, values: Iterable[float]) -> str:
    """Return what the winners lose in words: in points where the quality is a rate.

    Args:
        lost: What they lose.
        quality: In which they lose it.
        values: Values of it, which show whether it is a rate.
    """
    factor, unit = (100.0, " points") if quality.is_rate(values) else (1.0, f" {quality.unit}".rstrip())
    value, low, high = (f"{factor * end:.2g}" for end in (lost.best.value, lost.best.low, lost.best.high))
    return (
        f"Regret, of {lost.count} architectures that were each trained on their own: the best winner loses "
        f"{value}{unit} (95 % {low} to {high}) of {quality.name.replace('_', ' ')} against the best that costs no "
        f"more, and the winners have {lost.front.value:.3f} (95 % {lost.front.low:.3f} to {lost.front.high:.3f}) of "
        "the hypervolume of all."
    )
