"""With ENCRYPTION_KEYS nothing of an answer or a prompt can be read in a shared store, keys rotate
without losing an entry, and what no key opens is a miss."""

from __future__ import annotations

import io
import logging
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.test import override_settings

import llmcache
from llmcache import Cache, claims, encryption, packages
from llmcache.backends.base import BaseBackend
from llmcache.envelope import EnvelopeError, seal, unseal
from tests.backends import stores
from tests.backends.conftest import DATABASE

DIGEST, OTHER = "ab" * 32, "cd" * 32
OLD, NEW = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
WORD = "Ambergris"
QUESTION = f"What is {WORD} made of?"
ASK = {"model": "m", "messages": [{"role": "user", "content": QUESTION}]}


def keys(*given: Any) -> override_settings:
    config = {"ENCRYPTION_KEYS": given[0] if callable(given[0]) else list(given)}
    return override_settings(LLMCACHE_CONFIG={**config, "BACKEND_TIMEOUT": 5.0})


def current_keys() -> list[str]:
    return [OLD]


def no_keys() -> list[str]:
    raise OSError(f"the vault does not answer; it would have said {OLD}")


# --- envelopes ---


def test_an_entry_opens_under_its_own_digest_and_key_only() -> None:
    with keys(OLD):
        data = seal(DIGEST, b"payload " * 500, created=1.0, header={"a": 1}, compress_min_bytes=1)
        opened = unseal(DIGEST, data)
        assert (opened.payload, opened.header) == (b"payload " * 500, {"a": 1})
        with pytest.raises(EnvelopeError, match="another name"):
            unseal(OTHER, data)
    with keys(NEW), pytest.raises(EnvelopeError, match="does not have"):
        unseal(DIGEST, data)


def test_every_changed_byte_of_an_encrypted_entry_is_noticed() -> None:
    with keys(OLD):
        data = seal(DIGEST, b"payload", created=1.0, expires=5.0, header={"a": 1})
        for at in range(len(data)):
            with pytest.raises(EnvelopeError):
                unseal(DIGEST, data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        for size in range(len(data)):
            with pytest.raises(EnvelopeError):
                unseal(DIGEST, data[:size])


def test_two_entries_with_the_same_text_look_different() -> None:
    with keys(OLD):
        one, two = (seal(DIGEST, b"payload", created=1.0) for _ in range(2))
        assert one != two
        assert unseal(DIGEST, one).payload == unseal(DIGEST, two).payload


def test_the_first_key_encrypts_and_all_of_them_open() -> None:
    with keys(OLD):
        old = seal(DIGEST, b"old", created=1.0)
    with keys(NEW, OLD):
        assert unseal(DIGEST, old).payload == b"old"
        new = seal(DIGEST, b"new", created=1.0)
    with keys(NEW):
        assert unseal(DIGEST, new).payload == b"new"


def test_what_is_only_signed_opens_while_plain_is_among_the_keys() -> None:
    signed = seal(DIGEST, b"older", created=1.0)
    with keys(OLD, "plain"):
        assert unseal(DIGEST, signed).payload == b"older"
    with keys(OLD), pytest.raises(EnvelopeError, match="not encrypted"):
        unseal(DIGEST, signed)


def test_what_a_process_alone_can_read_is_not_encrypted() -> None:
    with keys(OLD):
        assert b"payload" in seal(DIGEST, b"payload", created=1.0, sign=False)


def test_a_text_beside_an_entry_opens_under_its_own_name_only() -> None:
    with keys(OLD):
        kept = encryption.veil("a", "caf\u00e9 \ud800")
        assert encryption.unveil("a", kept) == "caf\u00e9 \ud800"
        for name, text in (("b", kept), ("a", kept[:-8]), ("a", kept + "AAAA"), ("a", "in clear")):
            with pytest.raises(encryption.NotDecrypted):
                encryption.unveil(name, text)
    assert encryption.veil("a", "text") == encryption.unveil("a", "text") == "text"


def test_a_note_about_a_claim_does_not_open_as_an_entry() -> None:
    store = Cache()
    claim = claims.Claim(store, store.backend, DIGEST)
    note, _ = claim._note(llmcache.exceptions.ServerFailed("no", status=500))
    assert note is not None
    with pytest.raises(EnvelopeError):
        unseal(DIGEST, note)
    with pytest.raises(claims.Unshared):  # nor an entry as a note
        claims.read(DIGEST, seal(DIGEST, b"", created=1.0, header={"written_by_a_worker": True}))


def test_a_note_that_somebody_put_back_later_is_not_believed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = Cache()
    claim = claims.Claim(store, store.backend, DIGEST)
    error = llmcache.exceptions.ServerFailed("no", status=500)
    fresh, _ = claim._note(error)
    monkeypatch.setattr(claims, "time", lambda: 1.0)
    old, _ = claim._note(error)
    monkeypatch.undo()
    assert fresh is not None and old is not None
    with pytest.raises(llmcache.exceptions.ServerFailed):
        claims.read(DIGEST, fresh)
    with pytest.raises(claims.Unshared):
        claims.read(DIGEST, old)


# --- the settings ---


@pytest.mark.django_db  # Django's own checks ask the database what it can do
@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["short"], r"\[0\] is no key: a key is 32 random bytes in URL-safe base64"),
        ([OLD, 7], r"\[1\] is no key"),
        ([OLD, OLD], "has the same key twice"),
        (["plain", OLD], "must begin with a key"),
        (OLD, "A single key is a list too"),
        ({"a": OLD}, "must be a list of keys"),
        (no_keys, "failed: OSError"),
        (lambda: None, "must be a list of keys"),
    ],
    ids=["short", "number", "twice", "plain-first", "text", "dict", "fails", "none"],
)
def test_keys_that_cannot_be_used_are_refused_by_the_checks_and_never_shown(
    given: Any, said: str
) -> None:
    with (
        override_settings(LLMCACHE_CONFIG={"ENCRYPTION_KEYS": given}),
        pytest.raises(SystemCheckError, match=said) as caught,
    ):
        call_command("check", stderr=io.StringIO())
    assert "llmcache.E009" in str(caught.value)
    assert OLD not in str(caught.value)


@pytest.mark.django_db  # Django's own checks ask the database what it can do
@pytest.mark.parametrize(
    "given", [[OLD, NEW, "plain"], current_keys, f"{__name__}.current_keys", (OLD + "=",), ()]
)
def test_keys_that_can_be_used_pass_the_checks(given: Any) -> None:
    with override_settings(LLMCACHE_CONFIG={"ENCRYPTION_KEYS": given}):
        call_command("check")
        assert OLD not in repr(llmcache.conf.config()) + repr(encryption.ring().keys)


def test_the_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "find_spec", lambda name: None)
    with keys(OLD), pytest.raises(encryption.NoKeys, match=r"django-llmcache\[encryption\]"):
        encryption.ring()


# --- calls ---


@pytest.fixture(
    params=[
        pytest.param(name, marks=DATABASE if name.startswith("database") else ())
        for name in sorted(set(stores.FACTORIES) - {"redis-cluster"})  # keeps what "redis" keeps
    ]
)
def backend(request: pytest.FixtureRequest) -> Iterator[BaseBackend]:
    """Every store, as calls use it."""
    changed = keys(OLD, "plain")
    changed.enable()
    request.addfinalizer(changed.disable)  # after those of the store
    made = stores.FACTORIES[request.param](request)()
    llmcache.cache = Cache.over(made)
    yield made
    made.close()


def answers(door: Any) -> list[tuple[str, Any]]:
    """The outcome and the answer of each call type that has a key of its own."""
    whole = door.completion(**ASK)
    stream = door.completion(**ASK, stream=True)
    chunks = door.chunks(stream)
    vector = door.embedding("m", input=QUESTION)
    return [
        (whole.cache.outcome, whole.raw),
        (stream.cache.outcome, [chunk.raw for chunk in chunks]),
        (vector.cache.outcome, vector.raw),
    ]


def test_answers_are_encrypted_in_every_shared_store(door: Any, backend: BaseBackend) -> None:
    first, second = answers(door), answers(door)
    assert [outcome for outcome, _ in second] == ["hit"] * 3
    assert [answer for _, answer in second] == [answer for _, answer in first]
    digest = llmcache.explain_key(**ASK)["digest"]
    data = backend.get(digest)
    assert data is not None
    assert (WORD.encode() in data) == backend.process_local


def test_a_new_key_loses_no_entry_and_an_old_one_that_is_gone_makes_a_miss(
    door: Any, backend: BaseBackend, counted: Callable[[str], int]
) -> None:
    first = door.completion(**ASK)
    with keys(NEW, OLD):
        assert door.completion(**ASK).id == first.id
    with keys(NEW):
        again = door.completion(**ASK)
        if backend.process_local:
            assert again.cache.hit
            return
        assert again.cache.outcome == "miss"
        assert counted("unreadable") >= 1
        assert door.completion(**ASK).id == again.id


# --- all that is in a store ---


def in_files(request: pytest.FixtureRequest) -> tuple[str, Callable[[], bytes]]:
    place = request.getfixturevalue("tmp_path") / "place"

    def dump() -> bytes:
        return b"".join(path.read_bytes() for path in place.rglob("*") if path.is_file())

    return str(place), dump


def in_redis(request: pytest.FixtureRequest) -> tuple[str, Callable[[], bytes]]:
    server = request.getfixturevalue("redis_server")
    client = redis.Redis.from_url(server.url)

    def dump() -> bytes:
        found = []
        for key in client.scan_iter():
            kind = client.type(key)
            value = client.hgetall(key) if kind == b"hash" else client.get(key)
            found.append(repr((key, value)).encode())
        return b"\n".join(found)

    return server.url, dump


PLACES = {
    "llmcache.backends.disk.DiskBackend": in_files,
    "llmcache.backends.redis.RedisBackend": in_redis,
    "llmcache.backends.semantic.local.LocalSemanticBackend": in_files,
    "llmcache.backends.semantic.redis.RedisSemanticBackend": in_redis,
}


@pytest.fixture(params=sorted(PLACES))
def place(request: pytest.FixtureRequest) -> Any:
    """A store's settings, and a function that reads all that it has put anywhere."""
    location, dump = PLACES[request.param](request)
    cache: dict[str, Any] = {"BACKEND": request.param, "LOCATION": location}
    if "redis" in request.param:
        cache["KEY_PREFIX"] = secrets.token_hex(8)
    if "semantic" in request.param:
        cache["OPTIONS"] = {"embedder": "tests.matching.words.WordEmbedder"}
    return cache, dump


def site(cache: dict[str, Any], *given: str) -> override_settings:
    config = {"ENCRYPTION_KEYS": given, "BACKEND_TIMEOUT": 5.0, "SCOPE": lambda: "a"}
    return override_settings(LLMCACHE={"default": cache}, LLMCACHE_CONFIG=config)


@pytest.mark.parametrize("given", [(), (OLD,)], ids=["plain", "encrypted"])
def test_no_question_and_no_answer_can_be_read_in_a_store(
    door: Any, place: Any, given: tuple[str, ...]
) -> None:
    cache, dump = place
    word = secrets.token_hex(8)
    ask = {"model": "m", "messages": [{"role": "user", "content": f"What is {word} made of?"}]}
    with site(cache, *given):
        first = door.completion(**ask)
        assert door.completion(**ask).id == first.id
        assert (word.encode() in dump()) == (not given)


def test_similar_questions_are_found_while_their_texts_are_encrypted(
    door: Any, place: Any, counted: Callable[[str], int]
) -> None:
    cache, _ = place
    if "OPTIONS" not in cache:
        pytest.skip("this store finds identical questions only")
    turned = [{"role": "user", "content": f"{WORD} made of? What is"}]
    with site(cache, OLD):
        first = door.completion(**ASK)
        assert door.completion("m", messages=turned).id == first.id
    with site(cache, NEW, OLD):
        assert door.completion("m", messages=turned).id == first.id
    with site(cache, NEW):
        assert door.completion("m", messages=turned).cache.outcome == "miss"
        assert counted("unreadable") == 1


def test_keys_that_cannot_be_had_cost_the_cache_and_not_the_answer(
    door: Any, tmp_path: Path, counted: Callable[[str], int], caplog: pytest.LogCaptureFixture
) -> None:
    with (
        override_settings(LLMCACHE_CONFIG={"ENCRYPTION_KEYS": no_keys}),
        caplog.at_level(logging.DEBUG),
    ):
        llmcache.cache = Cache(type="disk", disk_cache_dir=tmp_path)
        for _ in range(3):
            response = door.completion(**ASK)
            assert response.cache.outcome == "miss"
            assert response.cache.reason == "not stored: it cannot be encrypted"
        assert counted("unsealed") == 3
    assert OLD not in caplog.text
