from __future__ import annotations

import math
import random

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics.functional.text import char_error_rate, word_error_rate

from nas.errors import ObjectiveError
from nas.evaluation import CharacterErrorRate, WordErrorRate
from nas.evaluation.quality.measuring import collect_statistics, measure_statistics, statistics_of
from nas.evaluation.quality.sequences import edit_distance
from nas.inputs import Inputs, InputSpec
from nas.splits import Split
from nas.task import Decoded, Quality
from nas.tasks.sequences import END, SPECIAL, START
from nas.testing import check_quality

TOKENS = (*SPECIAL, "a", "b", "c")
LENGTH = 12


def texts(seed: int) -> list[str]:
    """Return texts of up to eleven characters, of which some are empty and none begins or ends with a space."""
    rng = random.Random(seed)
    return [" ".join("".join(rng.choices("abc ", k=rng.randrange(12))).split()) for _ in range(60)]


def ids(values: list[str]) -> Tensor:
    rows = [[*(TOKENS.index(character) for character in value), END] for value in values]
    return torch.tensor([row + [0] * (LENGTH - len(row)) for row in rows])


def outputs_of(values: list[str]) -> Tensor:
    return F.one_hot(ids(values), len(TOKENS)).transpose(1, 2).float()


FOUND, TRUE = texts(0), ["a" + text[1:] for text in texts(1)]


@pytest.mark.parametrize(
    ("quality", "known"), [(WordErrorRate(), word_error_rate), (CharacterErrorRate(), char_error_rate)]
)
def test_error_rates_are_those_of_torchmetrics(quality: Quality, known: object) -> None:
    statistics = statistics_of(quality, outputs_of(FOUND), ids(TRUE))
    assert quality.value(statistics) == pytest.approx(float(known(FOUND, TRUE)))  # type: ignore[operator]
    for rows in ([3, 3, 7], [59]):
        part = [FOUND[row] for row in rows], [TRUE[row] for row in rows]
        assert quality.value(statistics[rows]) == pytest.approx(float(known(*part)))  # type: ignore[operator]


@pytest.mark.parametrize("quality", [WordErrorRate(), WordErrorRate(None), CharacterErrorRate()])
def test_the_contract_is_kept(quality: Quality) -> None:
    assert isinstance(quality, Decoded)
    check_quality(quality, outputs_of(FOUND), ids(TRUE))


def test_where_every_token_is_a_word_the_rates_are_one() -> None:
    found = [
        statistics_of(q, outputs_of(FOUND), ids(TRUE)) for q in (WordErrorRate(None), CharacterErrorRate())
    ]
    assert np.array_equal(*found)


def test_what_comes_behind_the_end_of_an_answer_is_nothing() -> None:
    outputs = outputs_of(["ab", "ab"])
    outputs[1, :, 3:] = outputs[1, :, 3:].flip(0)
    assert statistics_of(CharacterErrorRate(), outputs, ids(["ab", "ab"])).tolist() == [[0, 2], [0, 2]]


def test_without_any_true_word_there_is_no_rate() -> None:
    statistics = statistics_of(WordErrorRate(), outputs_of(["a"]), ids([""]))
    assert math.isnan(WordErrorRate().value(statistics))
    assert math.isnan(measure_statistics(WordErrorRate(), statistics).value)


@pytest.mark.parametrize(
    ("found", "true", "count"),
    [
        ("", "", 0),
        ("", "abc", 3),
        ("abc", "", 3),
        ("kitten", "sitting", 3),
        ("ab", "ba", 2),
        ("abcd", "bcda", 2),
    ],
)
def test_the_edit_distance_is_levenshteins(found: str, true: str, count: int) -> None:
    assert edit_distance(found, true) == edit_distance(true, found) == count


@pytest.mark.parametrize("separator", [-1, True, "space"])
def test_a_separator_that_is_no_id_is_refused(separator: object) -> None:
    with pytest.raises(ObjectiveError, match="separator="):
        WordErrorRate(separator)  # type: ignore[arg-type]


class Parrot:
    """Repeats the answer so far, each token one place later: with the true answers as input it is always right."""

    def predict(self, inputs: Inputs) -> Tensor:
        _, answer = inputs
        shifted = torch.cat([answer[:, 1:], torch.full((len(answer), 1), END)], dim=1)
        return F.one_hot(shifted, len(TOKENS)).transpose(1, 2).float()

    @property
    def onnx_model(self) -> bytes:
        raise NotImplementedError

    @property
    def inputs(self) -> InputSpec:
        raise NotImplementedError


def test_a_network_is_judged_by_what_it_writes_alone_and_never_sees_the_true_answer() -> None:
    targets = ids(TRUE)
    answers = torch.cat([torch.full((len(TRUE), 1), START), targets[:, :-1]], dim=1)
    split = Split((targets, answers), targets)
    true_answers = statistics_of(CharacterErrorRate(), Parrot().predict((targets, answers)), targets)
    assert CharacterErrorRate().value(true_answers) == 0
    assert CharacterErrorRate().value(collect_statistics(CharacterErrorRate(), Parrot(), split)) == 1
