from __future__ import annotations

import re
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_data import write_texts

from nas.data import TextTable
from nas.data.text import token_ids, vocabulary
from nas.errors import DataError, NasError
from nas.testing import check_data_source


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
    assert splits.inputs.shapes == ((12,),)
    assert splits.inputs.dtypes == (torch.int64,)
    assert splits.facts.names == ("0", "1")
    assert int(splits.train.inputs.max()) == len(splits.vocabulary) - 1


def table(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_the_vocabulary_knows_the_train_split_only(tmp_path: Path) -> None:
    lines = [f"word{number}\t{number % 2}" for number in range(40)]
    splits = TextTable(table(tmp_path / "t.tsv", ["text\tlabel", *lines]), min_count=1).load()
    assert len(splits.vocabulary) == 2 + len(splits.train)
    assert (splits.train.inputs[:, 0] > 1).all()
    assert (splits.search.inputs[:, 0] == 1).all()
    assert (splits.test.inputs[:, 0] == 1).all()


def test_columns_have_names_and_classes_their_order(tmp_path: Path) -> None:
    lines = [f"{number % 3 * 5}\tsome {number}\tx" for number in range(30)]
    splits = TextTable(
        table(tmp_path / "t.tsv", ["kind\tbody\tother", *lines]), text="body", label="kind"
    ).load()
    assert splits.facts.names == ("0", "5", "10")
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
        (["text\tlabel\tlabel", *["x\t1\t2"] * 9], "more than one column 'label'"),
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
    faulty = ({"max_length": 0}, {"max_words": 2}, {"min_count": 0}, {"limit": 0})
    of_other_kinds = (
        {"max_length": "48"},
        {"min_count": 1.5},
        {"search_share": "0.2"},
        {"test": 5},
        {"seed": None},
    )
    for change in (*faulty, *of_other_kinds):
        with pytest.raises(NasError):
            TextTable("t.tsv", **change)  # type: ignore[arg-type]


def numbered(labels: list[str], count: int = 12) -> list[str]:
    """Return lines whose text is two known words."""
    return ["text\tlabel", *[f"some words\t{label}" for label in labels for _ in range(count)]]


@pytest.mark.parametrize(
    "ordered",
    [
        ("-10", "-1", "0", "1", "10"),
        ("1", "2", "10"),
        ("0.5", "1", "1.5", "10"),
        ("-1", "+1"),
        ("2", "10", "a", "b"),
        ("10", "1e3", "nan"),
        ("1", "9" * 5000),
    ],
)
def test_labels_that_are_numbers_are_in_their_order(tmp_path: Path, ordered: tuple[str, ...]) -> None:
    path = table(tmp_path / "t.tsv", numbered(sorted(ordered)))
    assert TextTable(path).load().facts.names == ordered


def test_spaces_and_forms_of_labels_make_no_classes(tmp_path: Path) -> None:
    path = table(tmp_path / "t.tsv", numbered(["caf\u00e9", "cafe\u0301 ", " tea"]))
    assert TextTable(path).load().facts.names == ("caf\u00e9", "tea")


def test_spaces_and_forms_of_groups_make_no_groups(tmp_path: Path) -> None:
    names = ["ren\u00e9", "rene\u0301 ", "  ren\u00e9", *"abcdefg"]
    lines = [f"word{number}\t{number % 2}\t{names[number // 2 % 10]}" for number in range(80)]
    source = TextTable(table(tmp_path / "t.tsv", ["text\tlabel\tby", *lines]), min_count=1, group="by")
    counts = re.findall(r"\d+", source.load().notes[0])
    assert sum(map(int, counts)) == 8


def test_a_line_without_a_label_is_a_sentence(tmp_path: Path) -> None:
    path = table(tmp_path / "t.tsv", [*numbered(["a", "b"]), "some\t "])
    with pytest.raises(DataError, match="line 26 of the table"):
        TextTable(path).load()


@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["without", "with"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["unix", "windows", "mac"])
def test_a_byte_order_mark_and_ends_of_lines_change_nothing(tmp_path: Path, mark: str, end: str) -> None:
    (tmp_path / "t.tsv").write_bytes((mark + end.join(numbered(["a", "b"]))).encode())
    splits = TextTable(tmp_path / "t.tsv").load()
    assert splits.facts.names == ("a", "b")
    assert splits.vocabulary[2:] == ("some", "words")


def test_what_ends_no_line_and_no_field_stays_text(tmp_path: Path) -> None:
    lines = ["text\tlabel", *[f'a "quoted\u2028text\x0b\t{n % 2}' for n in range(20)]]
    splits = TextTable(table(tmp_path / "t.tsv", lines)).load()
    assert set(splits.vocabulary[2:]) == {"a", '"', "quoted", "text"}


def test_a_text_may_be_very_long(tmp_path: Path) -> None:
    lines = ["text\tlabel", f"{'word ' * 40_000}\t0", *[f"word\t{number % 2}" for number in range(10)]]
    assert TextTable(table(tmp_path / "t.tsv", lines)).load().vocabulary[2:] == ("word",)


def test_a_language_without_spaces_has_a_vocabulary(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rng = np.random.default_rng(0)
    lines = ["text\tlabel"]
    for number in range(40):
        characters = [*rng.choice(list("我你他们今天去看电影的"), 8), "好" if number % 2 else "坏"]
        lines.append(f"{''.join(rng.permutation(characters))}\t{number % 2}")
    splits = TextTable(table(tmp_path / "t.tsv", lines)).load()
    assert {"好", "坏"} <= set(splits.vocabulary)
    assert len(splits.vocabulary) > 10
    assert caplog.records == []


def test_composed_and_decomposed_tables_are_the_same_data(tmp_path: Path) -> None:
    lines = ["text\tlabel", *[f"crème brûlée {n % 3}\t{n % 2}" for n in range(30)]]
    found = [
        TextTable(table(tmp_path / "t.tsv", [unicodedata.normalize(form, line) for line in lines])).load()
        for form in ("NFC", "NFD")
    ]
    assert found[0].fingerprint == found[1].fingerprint
    assert found[0].vocabulary == found[1].vocabulary
    assert "brûlée" in found[0].vocabulary


def test_the_fingerprint_changes_with_the_words_alone(tmp_path: Path) -> None:
    first, second = (
        TextTable(
            table(tmp_path / "t.tsv", ["text\tlabel", *[f"{w} {w}\t{n % 2}" for n in range(20)]])
        ).load()
        for w in ("one", "two")
    )
    assert torch.equal(first.train.inputs, second.train.inputs)
    assert first.fingerprint != second.fingerprint


def test_a_vocabulary_that_knows_nothing_is_refused(tmp_path: Path) -> None:
    lines = ["text\tlabel", *[f"{n}a {n}b\t{n % 2}" for n in range(40)]]
    with pytest.raises(DataError, match="min_count=2") as caught:
        TextTable(table(tmp_path / "t.tsv", lines)).load()
    assert "100%" in str(caught.value)
    assert "vocabulary of 0 words" in str(caught.value)


def test_words_that_are_new_and_texts_that_are_cut_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lines = ["text\tlabel", *[f"{n}a {n}b {n}c\t{n % 2}" for n in range(40)]]
    TextTable(table(tmp_path / "t.tsv", lines), min_count=1, max_length=2).load()
    assert "100 % of the words of search and test" in caplog.text
    assert "100.0 % of the texts" in caplog.text


@pytest.mark.parametrize("word", ["我喜欢", "\u093f", "e\u0301", "Upper", "two words"])
def test_a_vocabulary_of_other_rules_is_refused(word: str) -> None:
    with pytest.raises(DataError, match="make it again"):
        token_ids(["a"], ("<padding>", "<unknown>", "a", word), 4)
