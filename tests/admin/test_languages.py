"""The admin in other languages: every page, with everything that can be on it, has no English of
ours left.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import django
import pytest
from babel.messages.pofile import read_po
from django.db import transaction
from django.test import Client
from django.urls import reverse
from django.utils import translation
from django.utils.text import capfirst

from llmcache import events, maintenance
from llmcache.backends import stores
from llmcache.calls import ALL_KINDS
from llmcache.exceptions import EntryGone
from llmcache.models import Call, Entry, Eviction, MatchedPair
from tests.admin.conftest import MODEL, Ask, Person, address
from tests.admin.pairs import SIMILAR, decided
from tests.admin.test_pages_open import PAGES
from tests.admin.test_virtual_keys import FORM
from tests.translations.catalogues import languages, read

pytestmark = pytest.mark.django_db
Visit = Callable[[Client], Any]
READ_ALOUD = {"alt", "aria-label", "placeholder", "title", "data-filter-title"}
DATA = re.compile(
    r"\d[\d.,\u00a0\u202f]* (?:µs|ms|s|min|h)|[0-9a-f]{12,64}|product:7|key:.*|admin|help|Shop.*"
    r"|\d+ \w+ \d\d:\d\d|params\..*|null"
    r"|(?:default|disk|memory|tiered|exact|inner)\b.*|\w*Backend|gpt-4o.*|llmc-.*|fake.*"
    r"|You said: .*|(?:red apple pie|hello|.*order of shoes).*|[/{[\"].*|import llmcache.*",
    re.DOTALL,
)
"""What the site's own data, code and addresses look like: these are alike in every language."""
CODES = {
    *ALL_KINDS,
    *(
        "user",
        "audit",
        "numbers",
        "negation",
        "namespace",
        "no entry",
        "evicted in the admin",
        "UTC",
        "JSON",
    ),
}
"""Names of call types, roles and guards, and what the log keeps: people look for them as such."""


class Texts(HTMLParser):
    """The texts of a page, one for each element, as people read or hear them."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._silent = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._silent += tag in ("script", "style")
        button = tag == "input" and ("type", "submit") in attrs
        for name, value in attrs:
            if name in READ_ALOUD or (button and name == "value"):
                self.handle_data(value or "")

    def handle_endtag(self, tag: str) -> None:
        self._silent -= tag in ("script", "style")

    def handle_data(self, data: str) -> None:
        text = " ".join(data.split()).strip(" :›")
        if text and not self._silent:
            self.found.append(text)


def texts(html: str) -> set[str]:
    page = Texts()
    page.feed(html)
    return set(page.found)


def left(english: str, other: str, language: str) -> set[str]:
    """Texts with words in them that a page has in English and in another language too. What has
    been counted of unusual events has the names that settings and metrics call it by.
    """
    alike = [
        re.sub(r"%\\\((\w+)\\\)s", ".+", re.escape(str(message.id)))
        for message in read(language)
        if isinstance(message.id, str) and message.id.lower() == message.string.lower() != ""
    ]
    known = re.compile("|".join(alike), re.IGNORECASE)
    return {
        text
        for text in texts(english) & texts(other)
        if re.search(r"[^\W\d_]{2}", text)
        and not DATA.fullmatch(text)
        and not known.fullmatch(text)
        and text not in CODES | events.counts().keys() | djangos()
    }


@cache
def djangos() -> frozenset[str]:
    """Django's own words, some of which it has not translated; they are in its English catalogues,
    but for the names of icons."""
    found = {"True", "False", "None"}
    for path in Path(django.__file__).parent.glob("**/locale/en/LC_MESSAGES/django.po"):
        with path.open("rb") as file:
            ids = [message.id for message in read_po(file) if isinstance(message.id, str)]
        found |= {text.strip(" :") for text in ids} | {capfirst(text) for text in ids}
    return frozenset(found)


@pytest.fixture
def used(ask: Ask, admin_client: Client) -> Entry:
    """A site on which everything has happened: calls, hits, evictions, pairs, keys."""
    entry = ask("hello", cache={"namespace": "help", "tags": ["product:7"], "caller": "admin"})
    ask("hello", cache={"namespace": "help", "caller": "admin"})
    ask("hello 2", using="disk")
    pinned = ask("hello 3")
    Entry.objects.filter(pk=pinned.pk).update(pinned=True, expires=None, kept_until=None)
    Call.objects.create(
        created=entry.created, outcome="failed", kind="completion", model=MODEL, latency=1.5
    )
    admin_client.post(address("entry_evict", ask("hello 4").pk))
    for number, same in enumerate((True, False, None)):
        decided(number, same)
    admin_client.post(address("virtualkey_add"), FORM)
    return entry


def get(url: str, **query: Any) -> Visit:
    """A page."""
    return lambda client: client.get(url, query)


def post(url: str, **data: Any) -> Visit:
    """What comes of a form, with the page that it leads to."""
    return lambda client: client.post(url, data, follow=True)


def visits(entry: Entry) -> Iterator[tuple[str, Visit]]:
    """Every page and every message, by what is to be done for it."""
    for name in PAGES:
        yield name, get(address(name))
        yield f"{name}, searched", get(address(name), q="0123456789abcdef")
    yield "index", get(reverse("admin:app_list", args=["llmcache"]))
    yield "dashboard by day", get(address("hourlystat_changelist"), days="30", model=MODEL)
    yield "dashboard of nothing", get(address("hourlystat_changelist"), model="none")
    rows = {
        "entry": entry,
        "call": Call.objects.first(),
        "eviction": Eviction.objects.operations().first(),
        "matchedpair": MatchedPair.objects.first(),
    }
    for name, row in rows.items():
        yield name, get(address(f"{name}_change", getattr(row, "pk")))  # noqa: B009
        yield f"history of {name}", get(address(f"{name}_history", getattr(row, "pk")))  # noqa: B009
    yield "a new key", get(address("virtualkey_add"))
    yield "a new key's token", post(address("virtualkey_add"), **{**FORM, "name": "Shop 2"})
    yield "a wrong key", post(address("virtualkey_add"), **{**FORM, "allowed_models": '"x"'})
    yield "thresholds", get(address("threshold"))
    yield (
        "evicting what matches",
        get(address("entry_evict_matching"), namespace="help", state="live", q="0123456789abcdef"),
    )
    yield "evicting all", get(address("entry_evict_matching"))
    yield "clearing", get(address("clear"), alias="disk")
    yield "clearing, mistyped", post(address("clear"), alias="disk", typed="dusk")
    yield "testing", post(address("probe"), alias="disk")
    arguments = '{"model": "%s", "messages": [{"role": "user", "content": "%s"}]}'
    for text in ("hello 2", "hello 5"):
        yield (
            f"explaining {text}",
            post(
                address("explain"),
                kind="completion",
                alias="disk",
                request=arguments % (MODEL, text),
            ),
        )
    yield (
        "explaining what is no JSON",
        post(address("explain"), kind="completion", alias="disk", request="{"),
    )
    yield "setting a ttl", post(address("entry_ttl", entry.pk), hours="2")
    yield "setting a wrong ttl", post(address("entry_ttl", entry.pk), hours="-2")
    yield "pinning", post(address("entry_pin", entry.pk))
    yield "asking again", post(address("entry_again", entry.pk))
    yield (
        "rejecting",
        post(
            address("matchedpair_changelist"),
            action="say_other",
            _selected_action=[MatchedPair.objects.filter(same=None).get().pk],
        ),
    )
    yield (
        "stopping keys",
        post(address("virtualkey_changelist"), action="stop", _selected_action=["1"]),
    )
    yield "evicting", post(address("entry_evict", entry.pk))


def english_left(
    language: str, admin: Client, pages: Iterable[tuple[str, Visit]]
) -> dict[str, set[str]]:
    """What of ours is English on the pages in a language, by page."""
    english = Client(headers={"accept-language": "en"})
    other = Client(headers={"accept-language": language})
    english.cookies = other.cookies = admin.cookies
    found = {}
    for name, visit in pages:
        with transaction.atomic():
            before = visit(english)
            transaction.set_rollback(True)  # what it did is done again in the other language
        page = visit(other)
        assert page.status_code == 200 and page.headers["Content-Language"] == language, name
        words = left(before.content.decode(), page.content.decode(), language)
        if words:
            found[name] = words
    return found


@pytest.mark.parametrize("language", languages())
def test_no_page_has_english_left(language: str, used: Entry, admin_client: Client) -> None:
    assert english_left(language, admin_client, visits(used)) == {}


@pytest.mark.parametrize("language", languages())
def test_no_page_about_similar_prompts_has_english_left(
    language: str, pair: MatchedPair, admin_client: Client
) -> None:
    for number in range(3):
        decided(number, number > 0)
    entry = Entry.objects.get(digest=pair.digest)
    arguments = '{"model": "%s", "messages": [{"role": "user", "content": "%s"}]}'
    asked = {"kind": "completion", "alias": "default", "request": arguments % (MODEL, SIMILAR)}
    pages: dict[str, Visit] = {
        "list": get(address("matchedpair_changelist")),
        "pair": get(address("matchedpair_change", pair.pk)),
        "entry": get(address("entry_change", entry.pk), neighbours="1"),
        "measured": get(address("threshold"), pairs="decided", threshold="0.9"),
        "explained": post(address("explain"), **asked),
    }
    assert english_left(language, admin_client, pages.items()) == {}


def test_why_an_entry_cannot_be_shown_is_said_in_the_readers_language(
    ask: Ask, admin_client: Client
) -> None:
    entry = ask("hello", using="disk")
    stores["disk"].delete(entry.digest)
    german = {"accept-language": "de"}
    page = admin_client.get(address("entry_change", entry.pk), headers=german).content.decode()
    assert "Der Eintrag ist nicht mehr im Speicher &#x27;disk&#x27;." in page
    again = admin_client.post(address("entry_pin", entry.pk), headers=german, follow=True)
    assert "Der Eintrag ist nicht mehr im Speicher" in again.content.decode()
    with translation.override("de"), pytest.raises(EntryGone) as raised:
        maintenance.payload(entry)
    assert str(raised.value) == "The entry is not in the store 'disk' any more."  # for logs


def test_who_may_not_read_prompts_is_told_the_permission_as_the_admin_lists_it(
    ask: Ask, person: Person
) -> None:
    (name,) = (name for code, name in Entry._meta.permissions if code == "view_payload")
    with translation.override("en"):  # permissions are rows of a table, in English
        listed = str(name)
    client, url = person("view_entry"), address("entry_change", ask().pk)
    for language in languages():
        page = client.get(url, headers={"accept-language": language}).content.decode()
        assert listed in page
