from __future__ import annotations

from pathlib import Path

import pytest
import torch
from fake_data import write_texts

from nas.data import TextTable
from nas.data.text import token_ids, vocabulary, words
from nas.errors import DataError
from nas.testing import check_data_source


def test_words_are_lower_case_and_punctuation_stands_alone() -> None:
    assert words("Don't  stop, NOW!") == ["don", "'", "t", "stop", ",", "now", "!"]


def test_frequent_words_come_first_and_rare_ones_not_at_all() -> None:
    assert vocabulary(["b a a", "b c a"], max_words=10, min_count=2) == ("<padding>", "<unknown>", "a", "b")
    assert vocabulary(["b a a", "b c a"], max_words=3, min_count=1) == ("<padding>", "<unknown>", "a")


def test_ids_are_padded_and_cut() -> None:
    known = ("<padding>", "<unknown>", "a", "b")
    ids = token_ids(["a b", "a x b a", ""], known, 3)
    assert ids.dtype == torch.int64
    assert ids.tolist() == [[2, 3, 0], [2, 1, 3], [1, 0, 0]]


def test_the_contract_is_kept_and_relative_paths_begin_at_the_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_texts(tmp_path)
    monkeypatch.setenv("NAS_DATA", str(tmp_path))
    source = TextTable("text/sst2/train.tsv", "text/sst2/test.tsv", max_length=12)
    check_data_source(source)
    splits = source.load()
    assert (len(splits.train), len(splits.search), len(splits.test)) == (240, 60, 100)
    assert splits.image_shape == (12,)
    assert splits.dtype == torch.int64
    assert splits.class_names == ("0", "1")
    assert int(splits.train.images.max()) == len(splits.vocabulary) - 1


def table(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_the_vocabulary_knows_the_train_split_only(tmp_path: Path) -> None:
    lines = [f"word{number}\t{number % 2}" for number in range(40)]
    splits = TextTable(table(tmp_path / "t.tsv", ["text\tlabel", *lines]), min_count=1).load()
    assert len(splits.vocabulary) == 2 + len(splits.train)
    assert (splits.train.images[:, 0] > 1).all()
    assert (splits.search.images[:, 0] == 1).all()
    assert (splits.test.images[:, 0] == 1).all()


def test_columns_have_names_and_classes_their_order(tmp_path: Path) -> None:
    lines = [f"{number % 3 * 5}\tsome {number}\tx" for number in range(30)]
    splits = TextTable(
        table(tmp_path / "t.tsv", ["kind\tbody\tother", *lines]), text="body", label="kind"
    ).load()
    assert splits.class_names == ("0", "5", "10")
    assert splits.name == "t"


def test_a_name_and_a_limit_are_in_the_name(tmp_path: Path) -> None:
    lines = [f"some {number}\t{number % 2}" for number in range(30)]
    path = table(tmp_path / "t.tsv", ["text\tlabel", *lines])
    assert TextTable(path, name="reviews", limit=20).load().name == "reviews, 20 of 30"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "columns []"),
        (["a\tb", "x\t1"], "'text' and 'label'"),
        (["text\tlabel", "x\t1", "y"], "line 3"),
        (["text\tlabel"], "no items"),
        (["text\tlabel", *["x\t1"] * 9], "one class"),
    ],
)
def test_what_is_no_table_is_a_sentence(tmp_path: Path, lines: list[str], said: str) -> None:
    path = tmp_path / "t.tsv"
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(DataError) as caught:
        TextTable(path).load()
    assert said in str(caught.value)


def test_a_missing_or_binary_file_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        TextTable(tmp_path / "none.tsv").load()
    (tmp_path / "binary.tsv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="UTF-8"):
        TextTable(tmp_path / "binary.tsv").load()


def test_a_label_of_the_test_part_alone_is_a_sentence(tmp_path: Path) -> None:
    train = table(tmp_path / "a.tsv", ["text\tlabel", *[f"x\t{n % 2}" for n in range(20)]])
    test = table(tmp_path / "b.tsv", ["text\tlabel", "x\t0", "x\t7"])
    with pytest.raises(DataError, match="'7'"):
        TextTable(train, test).load()


def test_arguments_out_of_range_are_a_sentence() -> None:
    for change in ({"max_length": 0}, {"max_words": 2}, {"min_count": 0}, {"limit": 0}):
        with pytest.raises(DataError):
            TextTable("t.tsv", **change)  # type: ignore[arg-type]
