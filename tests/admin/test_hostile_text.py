"""Text that others wrote is shown as it is, in every column and on every page: never run, never
hidden, never turned round.
"""

from __future__ import annotations

from html.parser import HTMLParser
from time import time
from typing import Any

import pytest
from django.test import Client

import llmcache
from llmcache import ledger
from llmcache.models import Call, Entry, Eviction, HourlyStat
from llmcache.recorder import recorder
from llmcache.upstreams.fake import FakeUpstream
from tests.admin.conftest import MODEL, Ask, address
from tests.ledger.records import called, stored

pytestmark = pytest.mark.django_db

HOSTILE = [
    "<script>alert(1)</script>",
    "</pre></td></script></title></style>--><img src=x onerror=alert(1)>",
    '" onfocus="alert(1)" autofocus x="',
    "'><svg/onload=alert(1)>",
    "{{ 7|add:7 }}{% now 'Y' %}",
    "evil\u202egnp.exe\u2066\u200f",
    "nul\x00 and bell\x07 and \x1b[31mred",
    "lone \ud800 surrogate",
    "line\u2028separator",
]
FORBIDDEN = set(
    "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u200b\u2028\x00\x07\x1b"
)

OWN = ("/static/", "/admin/jsi18n/")


class Markup(HTMLParser):
    """What of a page is markup: its tags with their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.scripts: list[str | None] = []
        self.problems: list[str] = []
        self.shown: list[str] = []
        self._typed = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "script":
            self.scripts.append(given.get("src"))
        if tag == "img" and not (given.get("src") or "").startswith("/static/"):
            self.problems.append(tag)
        self._typed = tag == "textarea"
        self.shown += [value for name, value in attrs if value and name != "value"]
        self.problems += [name for name in given if name.startswith("on") or name == "style"]
        self.problems += [v for v in given.values() if v and v.lower().startswith("javascript:")]

    def handle_endtag(self, tag: str) -> None:
        self._typed = False

    def handle_data(self, data: str) -> None:
        if not self._typed:  # what somebody typed stays in its field as it was typed
            self.shown.append(data)


def harmless(response: Any) -> str:
    """The page, once it is known that nothing in it is run, hidden or turned round."""
    assert response.status_code == 200
    page: str = response.content.decode()
    markup = Markup(page)
    assert markup.problems == []
    assert [src for src in markup.scripts if not (src or "").startswith(OWN)] == []
    assert FORBIDDEN.isdisjoint("".join(markup.shown))
    assert "alert(1)</script>" not in page
    return page


@pytest.fixture(params=HOSTILE, ids=range(len(HOSTILE)))
def text(request: pytest.FixtureRequest) -> str:
    """One hostile text."""
    value: str = request.param
    return value


@pytest.fixture
def entry(text: str) -> Entry:
    """An entry and calls that have the text wherever a text can be."""
    labels = {"model": text, "namespace": text, "scope": text}
    material = {"params": {"messages": [{"role": text, "content": text}], text: text}}
    import json

    clean = json.dumps(material).encode("utf-8", "replace").replace(rb"\ud800", b"?")
    ledger.write(
        [
            called(caller=text, reason=text, layer=text, alias=text, **labels),
            called("failed", caller=text, reason=text, noted=None, at=time() - 60, **labels),
        ],
        [stored(material=clean, tags=[text], **labels)],
    )
    Entry.objects.update(alias="default")
    return Entry.objects.get()


def test_lists(text: str, entry: Entry, admin_client: Client) -> None:
    for name in ("entry", "call", "eviction"):
        harmless(admin_client.get(address(f"{name}_changelist")))


def test_pages_of_rows(text: str, entry: Entry, admin_client: Client) -> None:
    page = harmless(admin_client.get(address("entry_change", entry.pk)))
    assert "alert" in page or "\\u" in page or "\ufffd" in page or "7|add" in page
    for call in Call.objects.all():
        harmless(admin_client.get(address("call_change", call.pk)))
        harmless(admin_client.get(address("call_history", call.pk)))


def test_the_dashboard(text: str, entry: Entry, admin_client: Client) -> None:
    assert HourlyStat.objects.exists()
    harmless(admin_client.get(address("hourlystat_changelist")))
    for name in ("alias", "model", "namespace", "caller"):
        query = {name: text.encode("utf-8", "replace").decode()}
        harmless(admin_client.get(address("hourlystat_changelist"), query))


def test_an_alias_that_only_a_program_made(text: str, entry: Entry, admin_client: Client) -> None:
    Entry.objects.update(alias=text.replace("\x00", "").encode("utf-8", "replace").decode()[:64])
    harmless(admin_client.get(address("entry_changelist")))
    harmless(admin_client.get(address("entry_change", entry.pk)))


def test_evictions_and_what_is_said_of_them(text: str, entry: Entry, admin_client: Client) -> None:
    llmcache.evict(tag=text, reason=text, by=text)
    harmless(admin_client.get(address("eviction_changelist")))
    for eviction in Eviction.objects.operations():
        harmless(admin_client.get(address("eviction_change", eviction.pk)))
    query = {"namespace": text.encode("utf-8", "replace").decode()}
    harmless(admin_client.get(address("entry_evict_matching"), query))
    harmless(admin_client.get(address("entry_changelist"), {**query, "q": query["namespace"]}))


def test_answers(text: str, ask: Ask, upstream: FakeUpstream, admin_client: Client) -> None:
    said = text.encode("utf-8", "replace").decode()
    upstream.responses = lambda request: said
    entry = ask("hello", cache={"tags": [said]})
    harmless(admin_client.get(address("entry_change", entry.pk)))
    harmless(admin_client.post(address("entry_again", entry.pk)))
    down = admin_client.post(address("entry_answer", entry.pk))
    assert down.content.decode() == said and down["Content-Type"].startswith("text/plain")


def test_explaining(text: str, entry: Entry, admin_client: Client) -> None:
    import json

    llmcache.completion(MODEL, messages=[{"role": "user", "content": "hello"}])
    recorder.flush()
    said = text.encode("utf-8", "replace").decode()
    for model, content in ((MODEL, said), (said, "hello"), (entry.model, "hello")):
        request = {"model": model, "messages": [{"role": "user", "content": content}], said: said}
        data = {"kind": "completion", "alias": "default", "request": json.dumps(request)}
        harmless(admin_client.post(address("explain"), data))
    harmless(admin_client.post(address("explain"), {**data, "request": said}))
