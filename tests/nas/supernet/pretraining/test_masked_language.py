from __future__ import annotations

import math

import pytest
import torch
from pretraining_fakes import SHORT, Texts, some_texts

from nas.evaluation.from_scratch import fresh_network
from nas.inputs import InputSpec
from nas.splits import Split
from nas.supernet import MaskedLanguage
from nas.supernet.pretraining.masked_language import hide_words


def test_eight_in_ten_words_to_be_predicted_are_hidden_and_one_is_replaced() -> None:
    ids = torch.randint(0, 1000, (400, 50), generator=torch.Generator().manual_seed(0))
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        hidden, chosen = hide_words(ids, 0.15, 1000)
    words = ids > 1
    assert not (chosen & ~words).any()
    assert torch.equal(hidden[~chosen], ids[~chosen])
    assert chosen.sum() / words.sum() == pytest.approx(0.15, abs=0.01)
    assert (hidden[chosen] == 1).double().mean() == pytest.approx(0.8, abs=0.02)
    assert (hidden[chosen] == ids[chosen]).double().mean() == pytest.approx(0.1, abs=0.02)
    assert hidden[chosen].min() >= 1


@pytest.mark.parametrize("ids", [[[1, 1, 0]], [[2, 0, 0]]])
def test_some_word_of_any_text_is_predicted(ids: list[list[int]]) -> None:
    _, chosen = hide_words(torch.tensor(ids), 1e-9, 3)
    assert chosen.any()
    assert not (chosen & (torch.tensor(ids) == 0)).any()


def test_narrow_subnets_predict_words_by_the_embedding_that_they_share() -> None:
    supernet = fresh_network(Texts, 0)
    spec = InputSpec.of_batch(some_texts(), ("ids",))
    pretext = MaskedLanguage(SHORT).pretext(supernet, Split(some_texts(), torch.zeros(12)), spec)
    largest, *_, smallest = pretext.step(some_texts(), torch.zeros(12), torch.Generator().manual_seed(0))
    smallest.backward()
    weights = supernet.module.embedding.weight
    assert weights.grad is not None
    assert weights.grad[:, 4:].any()  # as what is predicted, though not as what goes in
    assert largest.item() == pytest.approx(math.log(20), rel=0.5)
