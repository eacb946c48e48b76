"""Text of users in Markdown, so that it is read as text: names of classes, of studies, reasons of failures."""

from __future__ import annotations

import re
from typing import final

_MARKUP = re.compile(r"[\\`*\[\]<>|&~$!]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
"""What begins emphasis, code, links, pictures, HTML, entities, formulas or a cell; ``_`` does so at ends of words."""
_BLOCK = re.compile(r"([#+=-]|\d+(?=[.)]))")
"""What begins a heading, a list or a rule at the beginning of a line; after a number it is the next character."""


@final
class Marked(str):
    """Text that is Markdown already."""

    __slots__ = ()


def plain(text: object) -> str:
    """Return text in one line, without control characters."""
    line = " ".join(str(text).split())
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in line
    )


def escape(text: object) -> str:
    """Return text that Markdown shows as it is, in one line: in a sentence, a list, a heading or a cell.

    What is :class:`Marked` stays.
    """
    if isinstance(text, Marked):
        return text
    line = _MARKUP.sub(lambda found: f"\\{found[0]}", plain(text))
    begin = _BLOCK.match(line)
    if begin is None:
        return line
    place = begin.end() if begin[0].isdigit() else 0
    return f"{line[:place]}\\{line[place:]}"


def code(text: object) -> Marked:
    """Return text as a span of code, in which nothing is markup, whatever backticks it holds. Not for cells."""
    line = plain(text)
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    edge = " " if line[:1] in ("`", "") or line[-1:] == "`" else ""
    return Marked(f"{fence}{edge}{line}{edge}{fence}")
