from __future__ import annotations

from pathlib import Path

import pytest
import torch
from fakes import FewDigits

from nas.data import Digits, FewLabels, TextTable, add_unlabelled
from nas.errors import DataError, StudyError
from nas.testing import check_data_source


def test_few_items_keep_their_labels_and_all_can_be_learned_from_without() -> None:
    whole, few = Digits().load(), FewLabels(Digits(), 100).load()
    check_data_source(FewLabels(Digits(), 100))
    assert len(few.train) == 100
    assert few.train.targets.bincount().min() >= 9
    assert few.unlabelled is not None
    assert torch.equal(few.unlabelled.inputs, whole.train.inputs)
    assert not few.unlabelled.targets.any()
    assert few.search is not None
    assert torch.equal(few.test.inputs, whole.test.inputs)
    others = [FewLabels(Digits(), 100, seed=1), FewLabels(Digits(), 101), Digits()]
    assert few.fingerprint not in {other.load().fingerprint for other in others}


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (0, DataError, "labels=0: 1 or more"),
        (10**6, DataError, "ask for no more than there are"),
        (3, DataError, "3 of .* items can't be chosen so that every class"),
        ("all", StudyError, "labels='all'"),
    ],
)
def test_numbers_of_labels_that_can_not_be_are_one_sentence(
    labels: int, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        FewLabels(FewDigits(), labels).load()


def test_items_without_labels_join_those_of_train() -> None:
    splits = FewDigits().load()
    more = add_unlabelled(splits, torch.zeros(5, 1, 8, 8))
    assert more.unlabelled is not None
    assert len(more.unlabelled) == len(splits.train) + 5
    assert torch.equal(more.train.inputs, splits.train.inputs)
    assert more.fingerprint not in {
        splits.fingerprint,
        add_unlabelled(splits, torch.ones(5, 1, 8, 8)).fingerprint,
    }


@pytest.mark.parametrize(
    "inputs", [torch.zeros(5, 1, 8, 9), torch.zeros(5, 64), torch.zeros(5, 1, 8, 8).byte()]
)
def test_items_of_another_form_are_one_sentence(inputs: torch.Tensor) -> None:
    with pytest.raises(DataError, match=r"\[\(torch.float32, \(1, 8, 8\)\)\] is expected"):
        add_unlabelled(FewDigits().load(), inputs)


def test_texts_without_labels_add_to_the_vocabulary_and_are_learned_from(tmp_path: Path) -> None:
    lines = [
        f"{word} film {number}\t{label}" for number in range(20) for word, label in (("good", 1), ("bad", 0))
    ]
    (tmp_path / "few.tsv").write_text("\n".join(["text\tlabel", *lines]))
    (tmp_path / "many.tsv").write_text("text\na dreadful film\na dreadful play\n")
    splits = TextTable(tmp_path / "few.tsv", unlabelled=tmp_path / "many.tsv").load()
    assert "dreadful" in splits.vocabulary
    assert splits.unlabelled is not None
    assert len(splits.unlabelled) == len(splits.train) + 2
    assert int(splits.unlabelled.inputs[-2, 1]) == splits.vocabulary.index("dreadful")
