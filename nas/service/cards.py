"""Model cards as a page: markdown without HTML in it, and what comes out is sanitised."""

from __future__ import annotations

from collections.abc import Mapping

import nh3
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

# fmt: off
_TAGS = {
    "a", "blockquote", "br", "code", "div", "em", "h1", "h2", "h3", "h4", "hr", "img", "li", "ol", "p", "pre",
    "strong", "table", "tbody", "td", "th", "thead", "tr", "ul",
}
# fmt: on
_ATTRIBUTES = {
    "a": {"href"},
    "img": {"src", "alt"},
    "div": {"class", "tabindex", "role", "aria-label"},
}
_TABLE = '<div class="scroll" tabindex="0" role="region" aria-label="Table">\n<table>\n'


def render_card(card: str, pictures: Mapping[str, str]) -> Markup:
    """Return a model card as safe HTML, without its metadata.

    Args:
        card: Markdown with YAML metadata at its head. HTML in it is shown as text.
        pictures: Addresses of the card's own pictures by file name; every other image is left out.
    """
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    markdown.add_render_rule("table_open", lambda *_: _TABLE)
    markdown.add_render_rule("table_close", lambda *_: "</table>\n</div>\n")
    tokens = markdown.parse(ModelCard(card, ignore_metadata_errors=True).text)
    for token in tokens:
        token.children = _with_own_pictures(token.children, pictures)
    html = markdown.renderer.render(tokens, markdown.options, {})
    clean = nh3.clean(html, tags=_TAGS, attributes=_ATTRIBUTES, url_schemes={"http", "https"})
    return Markup(clean.replace("<pre>", '<pre tabindex="0">'))  # long lines are reached by keyboard


def tags_of(card: str) -> list[str]:
    """Return the tags in a card's metadata."""
    return [str(tag) for tag in ModelCard(card, ignore_metadata_errors=True).data.get("tags") or []]


def _with_own_pictures(children: list[Token] | None, pictures: Mapping[str, str]) -> list[Token] | None:
    if children is None:
        return None
    kept = [child for child in children if child.type != "image" or child.attrs["src"] in pictures]
    for child in kept:
        if child.type == "image":
            child.attrs["src"] = pictures[str(child.attrs["src"])]
    return kept
