"""Words of texts in any script."""

from __future__ import annotations

import functools
import itertools
import re
import unicodedata

_NO_SPACES = "".join(
    (
        "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff",  # Thai, Lao, Myanmar, Khmer
        "\u1950-\u19ff\u1a20-\u1aaf\uaa80-\uaadf\U00011700-\U0001174f",  # Tai Le, New Tai Lue, Tai Tham, Tai Viet, Ahom
        "\u1b00-\u1b7f\ua980-\ua9ff\uaa60-\uaa7f",  # Balinese, Javanese, more of Myanmar
        "\u3005-\u3007\u3041-\u30ff\u31f0-\u31ff\uff66-\uff9f\U0001b000-\U0001b16f",  # Hiragana, Katakana
        "\u3105-\u312f\u31a0-\u31bf\ua000-\ua4cf",  # Bopomofo, Yi
        "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff",  # Chinese characters
    )
)
"""Scripts that put no spaces between words: classes SA, ID, CJ and AK of Unicode Standard Annex 14, by block.

Tibetan is none of them: its syllables end with a mark of punctuation."""
_JOINERS = "\u200c\u200d"
"""Change how the letters of one word are drawn, as in Persian and Hindi."""


def split_words(text: str) -> list[str]:
    """Return the words and punctuation marks of a text, in lower case.

    Composed and decomposed letters are the same (Unicode's form NFC), and combining marks belong to the letter before
    them. Each character of a script that puts no spaces between words is a word, since finding words there takes a
    dictionary. A mark without a letter is dropped.
    """
    return _pattern().findall(unicodedata.normalize("NFC", text.lower()))


@functools.cache
def _pattern() -> re.Pattern[str]:
    marks = _marks() + _JOINERS
    letter = rf"[^\W{_NO_SPACES}]"
    mark = rf"(?![\0-\u02ff])[{marks}]"  # said first, because looking in the list takes long
    word = rf"{letter}+(?:{mark}{letter}*)*"
    return re.compile(rf"{word}|(?!{mark})[{_NO_SPACES}](?:{mark})*|(?!{mark})[^\w\s](?:{mark})*")


def _marks() -> str:
    """Return all combining marks, as ranges; there are none in planes beyond these."""
    places = (*range(0x300, 0x20000), *range(0xE0100, 0xE01F0))
    marks = [place for place in places if unicodedata.category(chr(place))[0] == "M"]
    runs = itertools.groupby(enumerate(marks), key=lambda entry: entry[1] - entry[0])
    ranges = [[place for _, place in run] for _, run in runs]
    return "".join(f"{chr(run[0])}-{chr(run[-1])}" for run in ranges)
