"""A site with stores of several kinds, questions asked there, and people with more or less
rights.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client, override_settings
from django.urls import reverse

import llmcache
from llmcache.models import Entry, MatchedPair
from llmcache.recorder import recorder
from tests.admin.pairs import MODEL, matched, semantic

Ask = Callable[..., Entry]
Person = Callable[..., Client]


@pytest.fixture(autouse=True)
def site(tmp_path: Path) -> Iterator[None]:
    """Stores in memory, on disk and layered; prompts are kept whole, and models have prices."""
    recorder._start_afresh()
    stores = {
        "default": {"BACKEND": "llmcache.backends.django.DjangoCacheBackend", "TIMEOUT": 3600},
        "disk": {
            "BACKEND": "llmcache.backends.disk.DiskBackend",
            "LOCATION": str(tmp_path / "answers"),
        },
        "memory": {"BACKEND": "llmcache.backends.memory.MemoryBackend"},
        "tiered": {
            "BACKEND": "llmcache.backends.layered.LayeredBackend",
            "OPTIONS": {"layers": ["memory", "disk"]},
        },
    }
    config = {
        "STORE_PROMPTS": "full",
        "PRICING": {MODEL: {"input": 0.15, "cached": 0.075, "output": 0.60}},
    }
    with override_settings(LLMCACHE=stores, LLMCACHE_CONFIG=config):
        yield


@pytest.fixture
def ask() -> Ask:
    """One question, recorded at once; gives its entry."""

    def asked(text: str = "hello", model: str = MODEL, **arguments: Any) -> Entry:
        messages = arguments.pop("messages", None) or [{"role": "user", "content": text}]
        answer = llmcache.completion(model, messages=messages, **arguments)
        if arguments.get("stream"):
            list(answer)
        recorder.flush()
        alias = arguments.get("using", "default")
        return Entry.objects.get(digest=answer.cache.key, alias=alias)

    return asked


@pytest.fixture
def person(db: None) -> Person:
    """A client of a member of staff who has these permissions on the app's tables."""

    def signed_in(*permissions: str) -> Client:
        user = User.objects.create_user(f"staff-{'-'.join(permissions)}"[:150], is_staff=True)
        known = Permission.objects.filter(
            content_type__app_label="llmcache", codename__in=permissions
        )
        assert len(known) == len(set(permissions))
        user.user_permissions.set(known)
        client = Client()
        client.force_login(user)
        return client

    return signed_in


@pytest.fixture
def semantic_site(site: None, tmp_path: Path) -> Iterator[None]:
    """The default store is searched by meaning; one is not; one has such a store as a layer."""
    stores = {
        "default": semantic(tmp_path / "similar"),
        "exact": {"BACKEND": "llmcache.backends.memory.MemoryBackend"},
        "inner": semantic(tmp_path / "inner"),
        "tiered": {
            "BACKEND": "llmcache.backends.layered.LayeredBackend",
            "OPTIONS": {"layers": ["exact", "inner"]},
        },
    }
    with override_settings(LLMCACHE=stores):
        yield


@pytest.fixture
def pair(semantic_site: None, db: None) -> MatchedPair:
    """A pair that has matched in the default store."""
    return matched()


def address(name: str, *args: Any) -> str:
    """The address of one of the pages, such as "entry_changelist"."""
    return reverse(f"admin:llmcache_{name}", args=args)


def words(html: str) -> str:
    """A page's text as people see it, its spaces made one."""
    from html import unescape

    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())
