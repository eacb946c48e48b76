from __future__ import annotations

import pytest

from nas.service.cards import render_card, tags_of

CARD = "---\ntags:\n- onnx\n- int8\nlicense: other\n---\n\n{body}\n"


def html(body: str) -> str:
    return str(render_card(CARD.format(body=body), {"front.png": "/picture"}))


def test_the_metadata_is_not_shown_but_its_tags_are_known() -> None:
    assert "license" not in html("# A model")
    assert tags_of(CARD.format(body="# A model")) == ["onnx", "int8"]
    assert tags_of("# No metadata") == []


def test_tables_can_be_scrolled_and_reached_by_keyboard() -> None:
    shown = html("| variant | file |\n|---|--:|\n| fp32 | `model.onnx` |")
    assert '<div class="scroll" tabindex="0" role="region" aria-label="Table">' in shown
    assert "<td><code>model.onnx</code></td>" in shown
    assert "style" not in shown


def test_code_can_be_scrolled_by_keyboard() -> None:
    assert '<pre tabindex="0"><code>import nas' in html("```python\nimport nas\n```")


def test_the_picture_is_the_winners_own() -> None:
    assert html("![The front](front.png)").count('src="/picture"') == 1
    for foreign in ("https://elsewhere.example/a.png", "//elsewhere.example/a.png", "../../secret.png"):
        assert "<img" not in html(f"![x]({foreign})")


@pytest.mark.parametrize(
    "body",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        '<a href="javascript:alert(1)">x</a>',
        "[x](javascript:alert(1))",
        "[x](data:text/html;base64,PHNjcmlwdD4=)",
        "![x](javascript:alert(1))",
        '`x`<iframe src="https://elsewhere.example">',
        '| a |\n|---|\n| <b onclick="alert(1)">x</b> |',
    ],
)
def test_nothing_in_a_card_becomes_a_script(body: str) -> None:
    shown = html(body)
    for tag in ("<script", "<img", "<iframe", "<b ", '<a href="javascript', '<a href="data'):
        assert tag not in shown
