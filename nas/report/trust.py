"""Whether the search's numbers can be trusted: supernet against stand-alone training."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import final

from nas.agreement import Agreement, rank_agreement, swapped_pairs
from nas.objective import Objective
from nas.stored import read_stored, write_stored


@final
@dataclass(frozen=True)
class Alone:
    """An architecture that was evaluated in the search and then trained on its own.

    Args:
        id: Of the architecture.
        trial: That evaluated it.
        winner: Whether it is one of the winners.
        searched: Quality in the search, with the supernet's weights.
        alone: Quality on the whole search split after its own training.
    """

    id: str
    trial: int
    winner: bool
    searched: float
    alone: float


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

    def front_swaps(self) -> tuple[int, int]:
        """Return how many pairs of winners changed places, and how many pairs there are."""
        winners = [row for row in self.rows if row.winner]
        swaps = swapped_pairs([w.searched for w in winners], [w.alone for w in winners])
        return len(swaps), len(winners) * (len(winners) - 1) // 2

    def sentences(self, quality: Objective) -> list[str]:
        """Return what it comes to, for people."""
        found = self.agreement(quality)
        if found is None:
            return [f"The ranking can't be checked: all of {len(self.rows)} architectures are equally good."]
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
