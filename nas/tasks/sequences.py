"""Sequence to sequence: an answer of several tokens for each item, which is written token by token."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor
from torch.nn import functional as F

from nas.checks import quote
from nas.errors import DataError
from nas.inputs import Inputs, InputSpec
from nas.task import TaskFacts
from nas.tasks.classes import OneClassEach, wrong_shape

PADDING, UNKNOWN, START, END, SPACE = range(5)
SPECIAL = ("<padding>", "<unknown>", "<start>", "<end>", " ")
"""The first tokens of every vocabulary; the first two are those of :mod:`nas.data.text`."""


@final
@dataclass(frozen=True)
class SequenceToSequence(OneClassEach):
    """An answer of several tokens: outputs are ``(n, num_tokens, length)`` logits, targets ``(n, length)`` int64.

    A network takes two inputs: ``(n, source_length)`` ids of the source, and ``(n, length)`` ids of the answer as far
    as it is known, which begin with :data:`START`. At every position it gives logits for the token that comes next, and
    must not look at later positions. It is trained on true answers (teacher forcing, Williams 1989) and evaluated by
    the answers that it writes alone, see :func:`decode_greedily`. A target ends with :data:`END`, and padding.

    Args:
        tokens: The token of each id, beginning with :data:`SPECIAL`.

    Raises:
        DataError: they begin with others, there are no more, or one is there twice.
    """

    tokens: tuple[str, ...]

    def __post_init__(self) -> None:
        tokens = self.tokens
        are_strings = isinstance(tokens, tuple) and all(isinstance(token, str) for token in tokens)
        if not are_strings or tokens[: len(SPECIAL)] != SPECIAL or len(tokens) == len(SPECIAL):
            raise DataError(
                f"SequenceToSequence has tokens={quote(tokens)}: a tuple of strings that begins with {SPECIAL} and "
                "holds more is expected."
            )
        if len(set(tokens)) < len(tokens):
            raise DataError("SequenceToSequence has a token twice in tokens: give each one id.")

    def loss(self, outputs: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Return the cross-entropy, a mean over the tokens of all answers."""
        return F.cross_entropy(outputs, targets, ignore_index=PADDING, label_smoothing=label_smoothing)

    def fault(self, targets: Tensor, outputs: Tensor | None = None) -> str | None:
        """Return what is wrong with targets, or with outputs for them."""
        count = len(self.tokens)
        if outputs is not None:
            return wrong_shape(outputs, (len(targets), count, *targets.shape[1:]))
        if targets.dtype != torch.int64 or targets.ndim != 2:
            return (
                f"targets are {targets.dtype} of shape {tuple(targets.shape)}: torch.int64 of shape (n, length), the "
                "id of each token, is expected"
            )
        first, last = int(targets.min()), int(targets.max())
        if first < 0 or last >= count:
            return f"targets go from {first} to {last}: an id from 0 to {count - 1} is expected"
        if not (targets == END).any(dim=1).all():
            return f"a target has no end: the id {END} after its last token is expected"
        return None

    def facts(self, inputs: InputSpec) -> TaskFacts:
        """Return what cards say."""
        reading = (
            "at each position a logit for each token that may come next, given the source and the answer up to there; "
            "an answer is written token by token, one pass for each"
        )
        length = str(inputs.shapes[-1][0])
        return TaskFacts("text-generation", "text", (str(len(self.tokens)), length), reading)

    def draw_examples(self, inputs: Inputs, targets: Tensor, outputs: Tensor) -> bytes:
        """Return a PNG of sources beside true and found answers."""
        from nas.tasks.answers import answers_png

        of_items = zip(inputs[0], targets, outputs.argmax(dim=1), strict=True)

        def read(ids: Tensor) -> str:
            return read_tokens(ids, self.tokens)

        return answers_png([(read(source), read(true), read(found)) for source, true, found in of_items])


def decode_greedily(predict: Callable[[Inputs], Tensor], sources: Tensor, length: int) -> Tensor:
    """Return ``(n, num_tokens, length)`` outputs for the answers that a network writes alone, the likeliest token each.

    After the end of an answer they mean nothing. Every token takes a pass over all positions.

    Args:
        predict: Returns the outputs of a network of the task :class:`SequenceToSequence`.
        sources: ``(n, source_length)`` ids.
        length: Longest answer, with its end.
    """
    answers = sources.new_full((len(sources), length + 1), PADDING)
    answers[:, 0] = START
    for position in range(length):
        outputs = predict((sources, answers[:, :length]))
        answers[:, position + 1] = outputs[:, :, position].argmax(dim=1)
        if bool((answers[:, 1:] == END).any(dim=1).all()):
            break
    return outputs


def answer_of(ids: Tensor) -> list[int]:
    """Return the ids of ``(length,)`` before the end or the padding."""
    found: list[int] = ids.tolist()
    ends = (position for position, token in enumerate(found) if token in (END, PADDING))
    return found[: next(ends, len(found))]


def read_tokens(ids: Tensor, tokens: tuple[str, ...]) -> str:
    """Return ``(length,)`` ids as text, up to the end."""
    return "".join(tokens[token] for token in answer_of(ids))
