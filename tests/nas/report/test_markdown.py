"""Text of users in Markdown."""

from __future__ import annotations

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from nas.report.markdown import Marked, code, escape, plain
from nas.report.tables import Table

TEXTS = [
    "cat",
    "a|b",
    "`tick`",
    "``two`` and `one",
    "`",
    "",
    "<script>alert(1)</script>",
    "<b>bold</b> & &amp; &lt;",
    "[link](http://evil.example)",
    "![picture](http://evil.example/x.png)",
    "**bold** _thin_ ~~gone~~ snake_case __init__",
    "# heading",
    "- item",
    "1. first",
    "2) second",
    "+ plus",
    "> quote",
    "---",
    "===",
    "one\ntwo",
    "one\r\n\r\n# two",
    "one\u2028two",
    "\x1b[31mred\x1b[0m",
    "back\\slash",
    "$x^2$",
    "trailing\\",
    "a\ttab",
    "İstanbul 猫",
]
SHOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def inline(tokens: list[Token]) -> list[Token]:
    return [child for token in tokens if token.type == "inline" for child in token.children or []]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("frame", ["{}", "# {}", "- {}", "Before {} after."])
def test_escaped_text_is_shown_as_it_is(text: str, frame: str) -> None:
    tokens = SHOWN.parse(frame.format(escape(text)))
    kinds = {"# {}": {"heading_open", "heading_close"}, "- {}": {"list_item_open", "bullet_list_open"}}
    assert not {t.type for t in tokens} & {"html_block", "hr", "blockquote_open", "ordered_list_open"}
    assert kinds.get(frame, set()) <= {t.type for t in tokens}
    children = inline(tokens)
    assert {child.type for child in children} <= {"text", "text_special"}
    assert "".join(child.content for child in children) == frame.lstrip("#- ").format(plain(text)).strip()


@pytest.mark.parametrize("text", TEXTS)
def test_text_in_code_is_shown_as_it_is(text: str) -> None:
    children = inline(SHOWN.parse(f"class {code(text)}, and `more`"))
    assert [child.type for child in children if child.type != "text"] == ["code_inline", "code_inline"]
    assert children[1].content.strip() == plain(text).strip()


@pytest.mark.parametrize("text", TEXTS)
def test_a_cell_stays_a_cell(text: str) -> None:
    table = Table(["name", text], [[text, Marked("[a](b)")], ["2", text]]).markdown()
    tokens = SHOWN.parse(table)
    assert [t.type for t in tokens].count("td_open") == 4
    assert [t.type for t in tokens].count("th_open") == 2
    cells = [t for t in tokens if t.type == "inline"]
    assert cells[1].children is not None
    assert "".join(child.content for child in cells[1].children) == plain(text)
    assert cells[3].children is not None
    assert cells[3].children[0].type == "link_open"


def test_what_needs_no_escape_stays_readable() -> None:
    text = "stage1.width 12.3 ± 0.4 %, 1,234 (a; b) weight_bytes {x} 'y' \"z\" – a/b: c"
    assert escape(text) == text
    assert code("a_b") == "`a_b`"
