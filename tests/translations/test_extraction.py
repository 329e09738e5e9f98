"""Every way in which code and templates mark a message is seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.translations.extraction import extracted

PYTHON = """
from django.utils.translation import gettext_lazy, ngettext, ngettext_lazy, pgettext_lazy
from django.utils.translation import gettext as _

title = _("plain")
joined = _(
    "in two "
    "lines"
) % {"a": 1}
lazy = gettext_lazy("lazy")
noop = gettext_noop("noop")
many = ngettext("one", "many", 2)
lazily = ngettext_lazy("one lazy", "many lazy", 2)
where = pgettext_lazy("place", "there")
not_marked = "nothing"
"""
TEMPLATE = """{% load i18n %}
  {% if x %}
      <p title="{% translate 'in an attribute' %}">{% translate "plain tag" %}</p>
    {% else %}é “{{ y|default:_("in a filter") }}”
  {% endif %}
{% blocktranslate count n=number %}{{ n }} page{% plural %}{{ n }} pages{% endblocktranslate %}
{% blocktranslate with a=b %} of {{ a }} at 5% {% endblocktranslate %}
{% translate "Clear" context "store" %} {# translate "not this" #}
<p>nothing</p>
"""


@pytest.fixture
def code(tmp_path: Path) -> Path:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "module.py").write_text(PYTHON)
    (tmp_path / "deep" / "page.html").write_text(TEMPLATE)
    return tmp_path


def test_all_marks_are_seen_and_nothing_else(code: Path) -> None:
    found = [(message.context, message.id) for message in extracted(code) if message.id]
    assert sorted(found, key=str) == sorted(
        [
            (None, "plain"),
            (None, "in two lines"),
            (None, "lazy"),
            (None, "noop"),
            (None, ("one", "many")),
            (None, ("one lazy", "many lazy")),
            ("place", "there"),
            (None, "in an attribute"),
            (None, "plain tag"),
            (None, "in a filter"),
            (None, ("%(n)s page", "%(n)s pages")),
            (None, " of %(a)s at 5%% "),
            ("store", "Clear"),
        ],
        key=str,
    )


def test_a_message_says_where_it_stands(code: Path) -> None:
    message = extracted(code).get("plain tag")
    assert message is not None
    assert message.locations == [(f"{code.name}/deep/page.html", 3)]
