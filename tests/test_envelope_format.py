"""The bytes of an entry as other releases wrote and will read them, and what of them is told
without opening.
"""

from __future__ import annotations

import hmac
import math
import secrets
import zlib
from collections.abc import Iterator
from hashlib import blake2b
from struct import pack, unpack
from typing import Any

import pytest
from django.test import override_settings

from llmcache import envelope, packages
from llmcache.envelope import Envelope, EnvelopeError, peek_expiry, peek_freshness, seal, unseal
from tests.extras import needs

DIGEST = "ab" * 32
BODY = b"payload"
HEADER_AT = 49


def sealed(payload: bytes = BODY, **kwargs: Any) -> bytes:
    return seal(DIGEST, payload, **{"created": 1.0, "expires": 2.0, **kwargs})


def flags_of(data: bytes) -> int:
    return data[4]


@pytest.mark.parametrize(
    ("more", "flags", "stale_until"),
    [
        ({}, 1, 2.0),
        ({"is_stream": True}, 1 | 4, 2.0),
        ({"stale_until": 7.0}, 1, 7.0),
        ({"stale_until": 1.5}, 1, 2.0),  # never before fresh until
        ({"expires": 0.5}, 1, 0.5),
        ({"expires": math.inf}, 1, math.inf),
    ],
)
@override_settings(SECRET_KEY="secret", SECRET_KEY_FALLBACKS=["older"])
def test_a_signed_entry_has_the_documented_bytes(
    more: dict[str, Any], flags: int, stale_until: float
) -> None:
    data = sealed(header={"a": 1}, **more)
    prefix = pack("<4sBdddI", b"LLC\x01", flags, 1.0, more.get("expires", 2.0), stale_until, 7)
    rest = b'{"a":1}' + BODY
    key = hmac.digest(b"secret", b"llmcache.envelope.v1", "sha256")
    mac = blake2b(DIGEST.encode() + prefix + rest, digest_size=16, key=key).digest()
    assert data == prefix + mac + rest


def test_an_unsigned_entry_has_zeros_where_others_have_a_signature() -> None:
    data = sealed(sign=False)
    assert flags_of(data) == 0
    assert data[33:HEADER_AT] == bytes(16)
    assert data[HEADER_AT:] == b"{}" + BODY


@pytest.mark.parametrize(
    ("least", "compressed"), [(0, False), (100, True), (101, False), (99, True), (1, True)]
)
def test_a_payload_is_compressed_from_its_size_on(least: int, compressed: bool) -> None:
    data = sealed(bytes(100), compress_min_bytes=least)
    assert flags_of(data) == (1 | 2 if compressed else 1)
    rest = data[HEADER_AT + 2 :]
    assert rest == (zlib.compress(bytes(100), 1) if compressed else bytes(100))
    assert unseal(DIGEST, data).payload == bytes(100)


def test_a_payload_that_compression_does_not_make_smaller_stays_as_it_is() -> None:
    same = next(
        data for size in range(1, 60) if len(zlib.compress(data := b"ab" * size, 1)) == len(data)
    )
    assert flags_of(sealed(same, compress_min_bytes=1)) == 1


@pytest.mark.parametrize("damage", ["cut", "other bytes"])
def test_a_damaged_compressed_payload_is_told_from_a_whole_one(damage: str) -> None:
    data = sealed(bytes(5000), compress_min_bytes=1, sign=False)
    if damage == "cut":
        data, why = data[:-6], r"^damaged: the payload is cut short or over 1 GiB$"
    else:
        data, why = data[: HEADER_AT + 2] + b"xx" + data[HEADER_AT + 4 :], "damaged: Error -3"
    with pytest.raises(EnvelopeError, match=why):
        unseal(DIGEST, data, signed=False)


def test_a_payload_that_would_grow_past_every_bound_is_not_inflated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = sealed(bytes(1000), compress_min_bytes=1)
    monkeypatch.setattr(envelope, "_MAX_PAYLOAD", 999)
    with pytest.raises(EnvelopeError, match="over 1 GiB"):
        unseal(DIGEST, data)
    monkeypatch.setattr(envelope, "_MAX_PAYLOAD", 1001)
    assert unseal(DIGEST, data).payload == bytes(1000)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "damaged: shorter than an envelope"),
        (b"LLC\x01" + bytes(44), "damaged: shorter than an envelope"),
        (bytes(49), "foreign: no envelope"),
        (b"LLX\x01" + bytes(45), "foreign: no envelope"),
        (b"LLC\x02" + bytes(45), "version 2 is not known"),
        (b"LLC\x01" + bytes(45), "unsigned"),
        (b"LLC\x01\x01" + bytes(44), "signature does not match"),
    ],
)
def test_what_does_not_open_says_why(data: bytes, why: str) -> None:
    with pytest.raises(EnvelopeError) as raised:
        unseal(DIGEST, data)
    assert str(raised.value) == why


def test_the_smallest_entry_opens_and_one_that_is_cut_in_its_header_does_not() -> None:
    empty = b"LLC\x01" + bytes(45)
    opened = unseal(DIGEST, empty, signed=False)
    assert (opened.payload, opened.header, opened.is_stream) == (b"", {}, False)
    with pytest.raises(EnvelopeError, match=r"^damaged: cut short$"):
        unseal(DIGEST, empty[:29] + pack("<I", 1) + empty[33:], signed=False)


@pytest.mark.parametrize("is_stream", [True, False])
def test_whether_it_is_a_stream_comes_out_as_a_flag(is_stream: bool) -> None:
    assert unseal(DIGEST, sealed(is_stream=is_stream)).is_stream is is_stream


def test_an_entry_made_in_memory_has_the_header_that_was_noted() -> None:
    entry = Envelope(1.0, 2.0, 3.0, False, b'{"read": 1}', BODY)
    assert entry.noted == b'{"read": 1}'
    assert (entry.header, entry.noted) == ({"read": 1}, {"read": 1})
    entry.note({"noted": 2})
    assert (entry.header, entry.noted) == ({"noted": 2}, {"noted": 2})


# --- what is told without opening ---


@pytest.mark.parametrize("peek", [peek_expiry, peek_freshness])
@pytest.mark.parametrize(
    "data", [b"", b"LLC\x01" + bytes(44), b"XXX\x01" + sealed()[4:], b"LLC\x02" + sealed()[4:]]
)
def test_of_other_bytes_no_end_is_told(peek: Any, data: bytes) -> None:
    assert peek(data) == {peek_expiry: None, peek_freshness: math.inf}[peek]


def test_the_ends_are_told_from_the_prefix_alone() -> None:
    least = sealed(stale_until=9.0)[:HEADER_AT]
    assert (peek_freshness(least), peek_expiry(least)) == (2.0, 9.0)
    endless = sealed(expires=math.inf)
    assert (peek_freshness(endless), peek_expiry(endless)) == (math.inf, None)
    no_number = pack("<4sBdddI", b"LLC\x01", 0, 1.0, math.nan, math.nan, 0) + bytes(16)
    assert (peek_freshness(no_number), peek_expiry(no_number)) == (math.inf, None)


# --- the site's secrets ---


def test_every_secret_of_the_site_opens_and_the_first_one_seals() -> None:
    with override_settings(SECRET_KEY="old"):
        old = sealed()
    with override_settings(SECRET_KEY=b"new", SECRET_KEY_FALLBACKS=["other", "old"]):
        assert unseal(DIGEST, old).payload == BODY
        new = sealed()
    with override_settings(SECRET_KEY="new"):  # bytes and text of one secret are one key
        assert unseal(DIGEST, new).payload == BODY
        with pytest.raises(EnvelopeError, match="signature"):
            unseal(DIGEST, old)
        with override_settings(SECRET_KEY_FALLBACKS=["old"]):  # read anew when it changes
            assert unseal(DIGEST, old).payload == BODY


def test_another_settings_change_leaves_the_derived_keys_alone() -> None:
    kept = envelope.signing_keys()
    with override_settings(USE_TZ=False):
        assert envelope.signing_keys() is kept


@pytest.fixture
def encrypting() -> Iterator[None]:
    key = secrets.token_urlsafe(32)
    with override_settings(LLMCACHE_CONFIG={"ENCRYPTION_KEYS": [key]}):
        yield


@needs("cryptography")
@pytest.mark.usefixtures("encrypting")
def test_an_encrypted_entry_says_so_and_shows_its_ends_alone() -> None:
    data = sealed(bytes(1000), header={"model": "m"}, is_stream=True, compress_min_bytes=1)
    assert flags_of(data) == 2 | 4 | 8
    assert unpack("<4sBdddI", data[:33])[2:] == (1.0, 2.0, 2.0, len(b'{"model":"m"}'))
    assert b"model" not in data
    opened = unseal(DIGEST, data)
    assert (opened.payload, opened.header) == (bytes(1000), {"model": "m"})
    assert flags_of(sealed(sign=False)) == 0  # of a store that no other program reads


@needs("cryptography")
@pytest.mark.usefixtures("encrypting")
def test_an_entry_of_a_key_that_is_gone_says_so() -> None:
    data = sealed()
    other = {"ENCRYPTION_KEYS": [secrets.token_urlsafe(32)]}
    with (
        override_settings(LLMCACHE_CONFIG=other),
        pytest.raises(EnvelopeError, match="under a key that ENCRYPTION_KEYS does not have"),
    ):
        unseal(DIGEST, data)


@needs("cryptography")
@pytest.mark.usefixtures("encrypting")
def test_where_entries_are_encrypted_a_signed_one_does_not_open() -> None:
    with override_settings(LLMCACHE_CONFIG={}):
        signed = sealed()
    with pytest.raises(EnvelopeError, match=r"^not encrypted, while ENCRYPTION_KEYS has keys$"):
        unseal(DIGEST, signed)


def test_without_the_package_for_it_nothing_is_sealed_and_the_error_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(packages, "find_spec", lambda name: None)
    key = secrets.token_urlsafe(32)
    with (
        override_settings(LLMCACHE_CONFIG={"ENCRYPTION_KEYS": [key]}),
        pytest.raises(EnvelopeError, match=r"django-llmcache\[encryption\]"),
    ):
        sealed()
