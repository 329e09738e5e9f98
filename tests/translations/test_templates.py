"""No words in a template that nobody can translate."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from django.template.base import Lexer, TokenType

from tests.translations.extraction import PACKAGE

TEMPLATES = sorted(PACKAGE.glob("templates/**/*.html"))
READ_ALOUD = {"alt", "aria-label", "placeholder", "title"}
THE_SAME_EVERYWHERE = {"s", "ms"}
"""Units of time."""


class Words(HTMLParser):
    """Collects what people read of a page that has no tags of Django's any more."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()
        self._in_code = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in_code = tag == "pre"
        button = ("type", "submit") in attrs
        for name, value in attrs:
            if name in READ_ALOUD or (button and name == "value" and tag == "input"):
                self.handle_data(value or "")

    def handle_endtag(self, tag: str) -> None:
        self._in_code = False

    def handle_data(self, data: str) -> None:
        if not self._in_code:
            self.found.update(re.findall(r"[^\W\d_]+", data))


def unmarked(template: str) -> set[str]:
    """Words outside of translation tags, of a page's class and of the examples of code."""
    kept, inside = [], False
    for token in Lexer(template).tokenize():
        if token.token_type == TokenType.TEXT and not inside:
            kept.append(token.contents)
        elif token.token_type == TokenType.BLOCK:
            name, *rest = token.contents.split()
            begins = name == "blocktranslate" or rest == ["bodyclass"]
            inside = begins or (inside and name not in ("endblocktranslate", "endblock"))
    words = Words()
    words.feed("".join(kept))
    words.close()
    return words.found


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_every_word_can_be_translated(path: Path) -> None:
    assert unmarked(path.read_text()) <= THE_SAME_EVERYWHERE


def test_a_word_that_is_not_marked_is_seen() -> None:
    template = (
        '<p title="Read me"{% if x %} class="no"{% endif %}>{% translate "yes" %} Bare {{ x }}</p>'
        "{% blocktranslate %}yes{% endblocktranslate %}<input type=submit value=Go><pre>code</pre>"
    )
    assert unmarked(template) == {"Read", "me", "Bare", "Go"}
