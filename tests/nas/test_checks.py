from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from nas.checks import check_numbers, failing_as, is_utf8
from nas.errors import EvaluationError, ExportError, NasError, ObjectiveError, StudyError, kind_and_line


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("one\n  two."), "ValueError: one two"),
        (RuntimeError(), "RuntimeError"),
        (SystemExit(3), "SystemExit: 3"),
        (SystemExit(), "SystemExit"),
        (GeneratorExit(), "GeneratorExit"),
        (RecursionError("deep"), "RecursionError: deep"),
        (StopIteration(1), "StopIteration: 1"),
        (MemoryError(), "MemoryError"),
    ],
)
@pytest.mark.parametrize("kind", [ObjectiveError, ExportError])
def test_whatever_a_part_raises_is_one_sentence(
    kind: type[NasError], error: BaseException, told: str
) -> None:
    with pytest.raises(kind) as caught, failing_as(kind, "the part failed", "mend it"):
        raise error
    assert str(caught.value) == f"the part failed ({told}): mend it."
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", [EvaluationError("a sentence"), KeyboardInterrupt(), OSError("of another")])
def test_sentences_interrupts_and_named_errors_pass(error: BaseException) -> None:
    with (
        pytest.raises(type(error)) as caught,
        failing_as(ObjectiveError, "the part failed", "mend it", besides=lambda e: isinstance(e, OSError)),
    ):
        raise error
    assert caught.value is error


def test_what_goes_on_for_pages_is_cut() -> None:
    assert len(kind_and_line(ValueError("word " * 1000))) <= 300


@dataclass
class Settings:
    rate: object

    def __post_init__(self) -> None:
        check_numbers(self, "rate")


@pytest.mark.parametrize("rate", ["1", None, True, 1j, [1.0], torch.tensor(1.0), 10**400, np.ones(2)])
def test_what_is_no_number_is_refused(rate: object) -> None:
    with pytest.raises(StudyError, match="rate"):
        Settings(rate)


@pytest.mark.parametrize("rate", [1, 0.5, math.inf, np.float32(0.5), np.float64(2), np.int64(3)])
def test_numpys_numbers_are_numbers(rate: object) -> None:
    assert Settings(rate).rate is rate


def test_half_a_surrogate_pair_is_no_utf8() -> None:
    assert is_utf8("é 日本")
    assert not is_utf8("\ud800")
