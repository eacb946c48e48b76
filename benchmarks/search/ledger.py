"""Who asked for what: an architecture is paid for once, and its price is one evaluation."""

from __future__ import annotations

import time

from nas.space import FloatArray, IntArray
from search_spaces.answers import Answers

_MAX_REPEATS_IN_A_ROW = 300
_MAX_REPEATS = 10  # for each evaluation


class SpentError(Exception):
    """The evaluations are used up: the method stops here, wherever it is."""


class StuckError(Exception):
    """The method has asked for nothing new for hundreds of questions, or for little new in thousands."""


class Ledger:
    """Answers from a table and keeps what was paid for.

    A question that was asked before is answered again for nothing, so a method isn't punished for repeating
    itself; one that repeats itself for ever is stopped.

    Args:
        table: Answers.
        evaluations: How many different architectures may be asked for.
    """

    def __init__(self, table: Answers, evaluations: int) -> None:
        self.table = table
        self.evaluations = min(evaluations, table.num_architectures)
        self.rows: list[int] = []
        self.seconds: list[float] = []
        self._known: set[int] = set()
        self._repeats = 0
        self._all_repeats = 0
        self._begin = time.process_time()

    def costs(self, indices: IntArray) -> FloatArray:
        """Return the costs of ``(n, num_choices)`` positions, ``(n, m)``.

        Raises:
            SpentError: one of them is new and there is nothing left to pay with.
            StuckError: too many repeats in a row.
        """
        rows = self.table.rows(indices)
        for row in rows.tolist():
            self._pay(row)
        return self.table.costs_at(rows)

    def _pay(self, row: int) -> None:
        if row in self._known:
            self._repeats += 1
            self._all_repeats += 1
            most = _MAX_REPEATS * self.evaluations
            if self._repeats > _MAX_REPEATS_IN_A_ROW or self._all_repeats > most:
                raise StuckError
            return
        if len(self.rows) >= self.evaluations:
            raise SpentError
        self._known.add(row)
        self._repeats = 0
        self.rows.append(row)
        self.seconds.append(time.process_time() - self._begin)
