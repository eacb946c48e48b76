from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch

from nas.data.pairs import split_pairs, token_ids_of
from nas.errors import DataError
from nas.splits import Splits
from nas.tasks.sequences import END, SPECIAL, START, read_tokens
from nas.testing import check_data_source

SOURCES = [f"{first}{second}{second}" for first in "abcdef" for second in "ghijkl"]


def pairs(**changes: Any) -> Splits:
    stated: dict[str, Any] = {
        "sources": SOURCES,
        "answers": [source[::-1] for source in SOURCES],
        "tokens": "abcdefghijkl",
        "source_length": 4,
        "length": 5,
    }
    return split_pairs("pairs", **(stated | changes))


@dataclass(frozen=True)
class Source:
    def load(self) -> Splits:
        return pairs()


def test_the_contract_is_kept() -> None:
    check_data_source(Source())


def test_networks_are_taught_on_true_answers_that_begin_with_a_start() -> None:
    splits = pairs()
    assert splits.vocabulary == (*SPECIAL, *"abcdefghijkl")
    assert splits.input_names == ("source", "answer")
    source, answer = splits.train.inputs
    for given, so_far, target in zip(source, answer, splits.train.targets, strict=True):
        text = read_tokens(given, splits.vocabulary)
        assert read_tokens(target, splits.vocabulary) == text[::-1]
        assert int(so_far[0]) == START
        assert torch.equal(so_far[1:], target[:-1])
        assert (target == END).sum() == 1


def sources_by_split(splits: Splits) -> list[set[str]]:
    parts = (splits.train, splits.search, splits.test)
    return [{read_tokens(ids, splits.vocabulary) for ids in part.inputs[0]} for part in parts]


def test_a_source_that_is_there_twice_is_in_one_split() -> None:
    train, search, test = sources_by_split(pairs(sources=SOURCES * 3, answers=SOURCES * 3))
    assert not train & search
    assert not (train | search) & test
    assert len(train | search | test) == len(SOURCES)


def test_groups_of_pairs_are_kept_together_and_told() -> None:
    splits = pairs(groups=[source[0] for source in SOURCES])
    firsts = [{source[0] for source in part} for part in sources_by_split(splits)]
    assert sum(map(len, firsts)) == len(set.union(*firsts)) == 6
    assert splits.notes == ("groups: 4 in train, 1 in search, 1 in test",)


def test_tokens_are_characters_or_words() -> None:
    tokens = (*SPECIAL, "c", "a", "cat")
    assert token_ids_of(["ca x"], tokens, 5).tolist() == [[5, 6, 4, 1, 0]]
    assert token_ids_of(["cat, A"], tokens, 4, unit="word", end=True).tolist() == [[7, 1, 6, END]]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"unit": "letter"}, "unit is 'letter'"),
        ({"answers": ["a"]}, "36 sources and 1 answers"),
        ({"source_length": 2}, "takes 3 tokens and length is 2"),
        ({"length": 3}, "takes 4 tokens with its end and length is 3"),
        ({"tokens": ""}, "holds more"),
        ({"sources": ["a"] * 36}, "1 groups can't be divided"),
    ],
)
def test_what_are_no_pairs_is_a_sentence(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError) as caught:
        pairs(**changes)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
