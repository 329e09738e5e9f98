"""Claims: one owner at a time, an end, notes; over every store that has them."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import Any

import pytest

from llmcache.backends.base import CLAIM
from llmcache.backends.django_database import DatabaseBackend
from llmcache.backends.django_file import FileBackend
from llmcache.backends.django_locmem import LocMemBackend
from llmcache.backends.memory import MemoryBackend
from llmcache.backends.s3 import S3Backend
from llmcache.conf import BackendSettings
from llmcache.exceptions import UnsupportedOperation
from llmcache.testing.store_contract import soon

NAME = sha256(b"name").hexdigest()
ONE, OTHER = CLAIM + b"\x00one", CLAIM + b"\xffother"


WITH_CLAIMS = [
    *("disk", "django-redis", "django-redis-package", "redis", "redis-cluster"),
    *("semantic-local", "semantic-redis", "unknown-cache"),
]
over_all = pytest.mark.parametrize("make", WITH_CLAIMS, indirect=True)


@pytest.fixture
def claims(store: Any) -> Any:
    """A store that has claims, behind its sync or its async door."""
    assert store.supports_claims
    return store


def test_no_other_store_has_claims() -> None:
    known = {
        "database": DatabaseBackend,
        "files": FileBackend,
        "locmem": LocMemBackend,
        "memory": MemoryBackend,
        "s3": S3Backend,
    }
    assert [name for name, kind in known.items() if kind.supports_claims] == []


def test_a_store_without_claims_says_so() -> None:
    with pytest.raises(UnsupportedOperation, match="MemoryBackend has no claims"):
        MemoryBackend(BackendSettings(alias="memory")).claim(NAME, ONE, 5)


def until_free(store: Any, seconds: float) -> bool:
    return soon(lambda: store.claimed(NAME) is None, seconds)


@over_all
def test_a_claim_has_one_owner(claims: Any) -> None:
    assert claims.claim(NAME, ONE, 5) == ONE
    assert claims.claim(NAME, OTHER, 5) == ONE
    assert claims.claimed(NAME) == ONE


@over_all
def test_a_claim_that_its_owner_ends_is_free(claims: Any) -> None:
    claims.claim(NAME, ONE, 5)
    claims.end_claim(NAME, OTHER, None, 0)
    assert claims.claimed(NAME) == ONE
    claims.end_claim(NAME, ONE, None, 0)
    assert claims.claimed(NAME) is None
    assert claims.claim(NAME, OTHER, 5) == OTHER


@over_all
def test_a_claim_that_nobody_renews_ends(claims: Any) -> None:
    claims.claim(NAME, ONE, 0.2)
    assert until_free(claims, 5)


@over_all
def test_only_the_owner_renews(claims: Any) -> None:
    claims.claim(NAME, ONE, 2)
    assert not claims.renew_claim(NAME, OTHER, 60)
    assert claims.renew_claim(NAME, ONE, 60)
    time.sleep(2.2)
    assert claims.claimed(NAME) == ONE
    claims.end_claim(NAME, ONE, None, 0)
    assert not claims.renew_claim(NAME, ONE, 60)


@over_all
def test_a_note_takes_the_claims_place_and_gives_way_to_the_next(claims: Any) -> None:
    claims.claim(NAME, ONE, 5)
    claims.end_claim(NAME, ONE, b"LLC note", 5)
    assert claims.claimed(NAME) == b"LLC note"
    assert claims.claim(NAME, OTHER, 5) == OTHER
    claims.end_claim(NAME, OTHER, b"LLC note", 0.2)
    assert until_free(claims, 5)


@over_all
def test_of_many_at_once_one_has_it(claims: Any) -> None:
    tokens = [CLAIM + bytes([number]) * 16 for number in range(16)]
    with ThreadPoolExecutor(16) as pool:
        held = set(pool.map(lambda token: claims.backend.claim(NAME, token, 5), tokens))
    assert len(held - {b""}) == 1


@over_all
def test_what_is_posted_is_there_for_all_and_ends(claims: Any, make: Any) -> None:
    slot, other = f"{NAME}-1", f"{NAME}-2"
    assert claims.posted(slot) is None
    claims.post(slot, b"\x00\xff one", 60)
    claims.post(slot, b"\x00\xff two", 60)
    assert (claims.posted(slot), claims.posted(other)) == (b"\x00\xff two", None)
    assert make().posted(slot) == b"\x00\xff two"  # another process
    assert claims.get(NAME) is None and claims.claimed(NAME) is None
    claims.post(slot, b"three", 0.2)
    assert soon(lambda: claims.posted(slot) is None, 5)


@over_all
def test_a_claim_is_no_entry(claims: Any) -> None:
    claims.claim(NAME, ONE, 5)
    assert claims.get(NAME) is None
    if claims.supports_iterate:
        assert list(claims.iterate()) == []
