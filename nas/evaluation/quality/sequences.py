"""Qualities of sequences: how many tokens must be changed for an answer to be right."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar, final

from torch import Tensor

from nas.checks import quote
from nas.errors import ObjectiveError
from nas.inputs import Inputs
from nas.objective import Objective
from nas.space import FloatArray
from nas.tasks.sequences import SPACE, answer_of, decode_greedily

Unit = TypeVar("Unit")


@final
@dataclass(frozen=True)
class WordErrorRate:
    """Words that must be inserted, removed or replaced for an answer to be right, by the words of the true one.

    Of all items together, so that long answers weigh more (Morris 2004, equation 1); it may exceed 1. The answers are
    those that the network writes alone.

    Args:
        separator: Id of the token between words; None where every token is a word.

    Raises:
        ObjectiveError: it is neither.
    """

    separator: int | None = SPACE
    objective: Objective = Objective("word_error_rate", "", "minimize")

    def __post_init__(self) -> None:
        is_id = isinstance(self.separator, int) and not isinstance(self.separator, bool)
        if self.separator is not None and not (is_id and self.separator >= 0):
            raise ObjectiveError(
                f"WordErrorRate has separator={quote(self.separator)}: the id of a token, or None, is expected."
            )

    def decode(self, predict: Callable[[Inputs], Tensor], inputs: Inputs) -> Tensor:
        """Return outputs for the answers that the network writes alone."""
        return decode_greedily(predict, *_source_and_length(inputs))

    def statistics(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return ``(n, 2)``: errors, and the words of the true answer."""
        return _count_errors(outputs, targets, self._words)

    def value(self, statistics: FloatArray) -> float:
        """Return the errors by the words; NaN where there are no words."""
        return _error_rate(statistics)

    def _words(self, tokens: list[int]) -> Sequence[object]:
        if self.separator is None:
            return tokens
        words: list[tuple[int, ...]] = [()]
        for token in tokens:
            words = [*words, ()] if token == self.separator else [*words[:-1], (*words[-1], token)]
        return [word for word in words if word]


@final
@dataclass(frozen=True)
class CharacterErrorRate:
    """The same of tokens that are characters, the spaces between words among them."""

    objective: Objective = Objective("character_error_rate", "", "minimize")

    def decode(self, predict: Callable[[Inputs], Tensor], inputs: Inputs) -> Tensor:
        """Return outputs for the answers that the network writes alone."""
        return decode_greedily(predict, *_source_and_length(inputs))

    def statistics(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return ``(n, 2)``: errors, and the characters of the true answer."""
        return _count_errors(outputs, targets, list)

    def value(self, statistics: FloatArray) -> float:
        """Return the errors by the characters; NaN where there are none."""
        return _error_rate(statistics)


def _source_and_length(inputs: Inputs) -> tuple[Tensor, int]:
    sources, answers = inputs
    return sources, answers.shape[1]


def _count_errors(
    outputs: Tensor, targets: Tensor, units_of: Callable[[list[int]], Sequence[object]]
) -> Tensor:
    pairs = zip(outputs.argmax(dim=1), targets, strict=True)
    units = [tuple(units_of(answer_of(ids)) for ids in pair) for pair in pairs]
    return outputs.new_tensor([[edit_distance(found, true), len(true)] for found, true in units]).double()


def _error_rate(statistics: FloatArray) -> float:
    errors, units = statistics.sum(axis=0)
    return float(errors / units) if units else math.nan


def edit_distance(found: Sequence[Unit], true: Sequence[Unit]) -> int:
    """Return how many units to insert, remove or replace to make one sequence of another (Levenshtein 1966)."""
    distances = list(range(len(true) + 1))
    for count, unit in enumerate(found, start=1):
        diagonal, distances[0] = distances[0], count
        for position, wanted in enumerate(true, start=1):
            replaced = diagonal + (unit != wanted)
            diagonal = distances[position]
            distances[position] = min(replaced, diagonal + 1, distances[position - 1] + 1)
    return distances[-1]
