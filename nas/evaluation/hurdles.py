"""Progressive dynamic hurdles: long training only for candidates that look good after a short one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from nas import pareto
from nas.errors import StudyError
from nas.space import FloatArray


@final
@dataclass(frozen=True)
class Hurdles:
    """When a candidate that is trained from scratch has to show how good it is (So 2019, section 3).

    The first ``every`` candidates stop at the first hurdle, whose height is then their mean quality. Later
    candidates go on past it if they are better. After ``every`` more, the second hurdle's height is the
    mean quality of those that got there, and so on. Heights never change afterwards.

    There the mean is over a population that evolves; here it is over all candidates up to then, because
    any strategy may propose them. And since quality alone would turn every small network away, a
    candidate also goes on if none of the earlier ones that reached the hurdle dominates it in quality and
    counted objectives.

    Args:
        after: Epochs of training after which the hurdles stand, increasing; the recipe's epochs are the
            whole way.
        every: Candidates until the next hurdle is put up.

    Raises:
        StudyError: a number is out of range.
    """

    after: tuple[int, ...]
    every: int = 16

    def __post_init__(self) -> None:
        increasing = all(a < b for a, b in zip((0, *self.after), self.after, strict=False))
        if not self.after or not increasing or self.every < 1:
            raise StudyError(
                f"Hurdles(after={self.after}, every={self.every}): epochs must increase from 1 on, and every must "
                "be at least 1, for example Hurdles(after=(4, 8), every=16)."
            )

    def rungs(self, epochs: int) -> list[int]:
        """Return the epochs of each leg of the way to ``epochs``.

        Raises:
            StudyError: the last hurdle stands at the end or beyond it.
        """
        if self.after[-1] >= epochs:
            raise StudyError(
                f"the last hurdle stands after {self.after[-1]} epochs and the recipe has {epochs}: hurdles must "
                "stand before the end."
            )
        return np.diff([0, *self.after, epochs]).tolist()  # type: ignore[no-any-return]

    def cleared(self, hurdle: int, costs: FloatArray, earlier: Sequence[Sequence[FloatArray]]) -> bool:
        """Whether a candidate may train on past a hurdle.

        Args:
            hurdle: From 0.
            costs: ``(m,)`` to be minimised: the quality's cost at this hurdle, then the counted ones.
            earlier: Such costs of each finished candidate, at every hurdle that it reached; in the order in which the
                candidates ended.
        """
        builders = earlier[: (hurdle + 1) * self.every]
        heights = [reached[hurdle][0] for reached in builders if len(reached) > hurdle]
        if len(builders) < (hurdle + 1) * self.every or not heights:
            return False
        here = [reached[hurdle] for reached in earlier if len(reached) > hurdle]
        return bool(costs[0] < np.mean(heights) or pareto.non_dominated(np.array([*here, costs]))[-1])
