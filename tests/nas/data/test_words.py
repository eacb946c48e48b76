"""What counts as a word, in any script."""

from __future__ import annotations

import sys
import unicodedata

import numpy as np
import pytest

from nas.data.words import split_words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't  stop, NOW!", ["don", "'", "t", "stop", ",", "now", "!"]),
        ("我喜欢你。", ["我", "喜", "欢", "你", "。"]),
        ("人々はGPUで", ["人", "々", "は", "gpu", "で"]),
        ("ラーメン", ["ラ", "ー", "メ", "ン"]),
        ("ดีมาก", ["ดี", "ม", "า", "ก"]),
        ("ខ្មែរ", ["ខ្", "មែ", "រ"]),
        ("나는 좋다", ["나는", "좋다"]),
        ("नमस्ते हिन्दी", ["नमस्ते", "हिन्दी"]),
        ("می‌خواهم", ["می‌خواهم"]),
        ("ང་བོད་", ["ང", "་", "བོད", "་"]),
        ("❤️ 5", ["❤️", "5"]),
        ("\u0301a", ["a"]),
        ("\u0e35\u0301", []),
        ("𠀀𠀁", ["𠀀", "𠀁"]),
    ],
)
def test_words_are_found_in_every_script(text: str, expected: list[str]) -> None:
    assert split_words(text) == expected


@pytest.mark.parametrize("text", ["Crème brûlée", "Việt Nam", "한국어", "Ångström"])
def test_composed_and_decomposed_letters_are_the_same(text: str) -> None:
    composed, decomposed = (split_words(unicodedata.normalize(form, text)) for form in ("NFC", "NFD"))
    assert composed == decomposed
    assert len(composed) == len(text.split())


def test_a_letter_that_has_no_composed_form_keeps_its_mark() -> None:
    assert split_words("q\u0301x m\u0304n") == ["q\u0301x", "m\u0304n"]


def test_every_combining_mark_belongs_to_its_letter() -> None:
    everything = map(chr, range(sys.maxunicode + 1))
    marks = [character for character in everything if unicodedata.category(character).startswith("M")]
    assert [mark for mark in marks if len(split_words(f"x{mark}y")) != 1] == []


def test_a_word_is_one_word() -> None:
    """So that a vocabulary tells whether it was made by these rules."""
    rng = np.random.default_rng(0)
    places = np.concatenate([rng.integers(0, 0x3000, 20_000), rng.integers(0x3000, 0x20000, 5_000)])
    letters = [chr(place) for place in places.tolist() if not 0xD800 <= place < 0xE000]
    found = split_words("".join(letters))
    assert len(found) > 5_000
    assert [word for word in found if split_words(word) != [word]] == []
