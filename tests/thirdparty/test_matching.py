"""A guard, an embedder and a judge of somebody else's decide in our semantic store what matches."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from django.test import Client, override_settings

import llmcache
from llmcache import caching, matching
from llmcache.checks import check_settings
from llmcache.upstreams.fake import FakeUpstream
from tests.admin.conftest import address, words

pytestmark = pytest.mark.django_db

GUARD = "tests.thirdparty.guard.ProductGuard"
STORED = "how do I descale the Kettle X at home please"
SIMILAR = "please how do I descale the Kettle X at home"
OTHER = "how do I descale the Kettle Y at home please"

Site = Callable[..., None]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A function that sets a site up whose store has these OPTIONS."""
    with ExitStack() as stack:

        def set_up(**options: Any) -> None:
            store = {
                "BACKEND": "llmcache.backends.semantic.local.LocalSemanticBackend",
                "LOCATION": str(tmp_path),
                "OPTIONS": {
                    "embedder": "tests.thirdparty.embedder.LetterEmbedder",
                    "guards": {GUARD: {"products": ["Kettle X", "Kettle Y"]}},
                    **options,
                },
            }
            stack.enter_context(override_settings(LLMCACHE={"default": store}))

        set_up()
        yield set_up


def ask(door: Any, text: str) -> Any:
    return door.completion(model="m", messages=[{"role": "user", "content": text}])


def test_its_embedder_finds_what_is_similar(site: Site, door: Any, upstream: FakeUpstream) -> None:
    site(guards={GUARD: {"products": []}})
    first, again = ask(door, STORED), ask(door, SIMILAR)
    assert again.cache.outcome == "hit" and 0.8 < again.cache.similarity < 1
    assert again == first and upstream.call_count == 1


def test_its_guard_vetoes_and_is_named_in_the_reason(
    site: Site, door: Any, counted: Callable[[str], int]
) -> None:
    site(guards=[])
    ask(door, STORED)
    assert ask(door, OTHER).cache.hit  # the vectors alone take the two for one
    site(guards={GUARD: {"products": ["Kettle X"]}, "contrast": False, "length": False})
    other = ask(door, OTHER + " now")
    assert other.cache.outcome == "miss"
    assert other.cache.reason == "guard products: kettle x is in one of them only"
    assert counted("guard_veto") > 0


def test_its_guard_lets_the_others_speak_too(site: Site) -> None:
    cache = caching.for_alias("default")
    assert cache is not None
    matcher = matching.for_store(cache)
    assert matcher is not None
    names = [guard.name for guard in matcher.guards]
    assert names[-1] == "products" and "numbers" in names


def test_its_verdict_is_on_the_page_that_explains(site: Site, admin_client: Client) -> None:
    asked: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": STORED}]}
    llmcache.completion(**asked)
    asked["messages"][0]["content"] = OTHER
    form = {"kind": "completion", "alias": "default", "request": json.dumps(asked)}
    page = admin_client.post(address("explain"), form)
    text = words(page.content.decode())
    assert "a guard objects" in text and "products : kettle x is in one of them only" in text


@pytest.mark.parametrize(
    ("share", "outcome"), [(0.9, "hit"), (1.0, "miss")], ids=["agrees", "declines"]
)
def test_its_judge_decides_in_the_band(site: Site, door: Any, share: float, outcome: str) -> None:
    judge = {"BACKEND": "tests.thirdparty.judge.WordJudge", "OPTIONS": {"share": share}}
    site(judge=judge, judge_band=[0.5, 1.0])
    ask(door, STORED)
    again = ask(door, f"{SIMILAR} now")
    assert again.cache.outcome == outcome
    assert outcome == "hit" or again.cache.reason == "the judge did not agree"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"guards": {GUARD: {"produts": []}}}, r"\['guards'\].*produts"),
        ({"guards": {GUARD: {"products": "Kettle X"}}}, "products must be a list of names"),
        ({"guards": ["tests.thirdparty.guard.Products"]}, "cannot be imported"),
        ({"guards": ["tests.thirdparty.judge.WordJudge"]}, "not a subclass of.*Guard"),
        (
            {
                "embedder": {
                    "BACKEND": "tests.thirdparty.embedder.LetterEmbedder",
                    "OPTIONS": {"dimension": 3},
                }
            },
            "Did you mean 'dimensions'",
        ),
        (
            {"judge": {"BACKEND": "tests.thirdparty.judge.WordJudge", "OPTIONS": {"share": 2}}},
            "must be a share from 0 to 1",
        ),
    ],
)
def test_checks_find_a_wrong_option(site: Site, options: dict[str, Any], says: str) -> None:
    site(**options)
    errors = [message for message in check_settings() if message.is_serious()]
    assert [error.id for error in errors] == ["llmcache.E002"]
    assert re.search(says, errors[0].msg)
