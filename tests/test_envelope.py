"""A stored entry opens only under its own digest, whole, and sealed by this site."""

from __future__ import annotations

import math
import pickle
from typing import Any

import pytest
from django.test import override_settings
from hypothesis import given, settings
from hypothesis import strategies as st

from llmcache.envelope import EnvelopeError, peek_expiry, seal, unseal

DIGEST = "ab" * 32
BODY = b'{"id": "1"}'


def sealed(payload: bytes = BODY, **kwargs: Any) -> bytes:
    return seal(DIGEST, payload, **{"created": 1000.5, "expires": 2000.25, **kwargs})


@settings(max_examples=50, deadline=None)
@given(
    payload=st.binary(max_size=5000),
    is_stream=st.booleans(),
    sign=st.booleans(),
    compress=st.sampled_from([0, 1, 1000]),
)
def test_what_was_sealed_comes_out(
    payload: bytes, is_stream: bool, sign: bool, compress: int
) -> None:
    data = sealed(
        payload,
        is_stream=is_stream,
        sign=sign,
        compress_min_bytes=compress,
        header={"model": "m", "usage": {"input": 3}},
    )
    envelope = unseal(DIGEST, data, signed=sign)
    assert envelope.payload == payload
    assert envelope.is_stream == is_stream
    assert (envelope.created, envelope.expires, envelope.stale_until) == (1000.5, 2000.25, 2000.25)
    assert envelope.header == {"model": "m", "usage": {"input": 3}}


def test_every_changed_byte_is_noticed() -> None:
    data = sealed(header={"model": "m"})
    for at in range(len(data)):
        forged = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        with pytest.raises(EnvelopeError):
            unseal(DIGEST, forged)


def test_every_cut_is_noticed() -> None:
    data = sealed()
    for size in range(len(data)):
        with pytest.raises(EnvelopeError):
            unseal(DIGEST, data[:size])


def test_an_entry_moved_to_another_key_does_not_open() -> None:
    with pytest.raises(EnvelopeError, match="signature"):
        unseal("cd" * 32, sealed())


def test_an_unsigned_entry_does_not_open_where_a_signature_is_due() -> None:
    with pytest.raises(EnvelopeError, match="unsigned"):
        unseal(DIGEST, sealed(sign=False))


def test_another_sites_entry_does_not_open() -> None:
    with override_settings(SECRET_KEY="another site"):
        data = sealed()
    with pytest.raises(EnvelopeError, match="signature"):
        unseal(DIGEST, data)


def test_entries_survive_a_rotation_of_the_secret_key() -> None:
    with override_settings(SECRET_KEY="old"):
        data = sealed()
    with override_settings(SECRET_KEY="new", SECRET_KEY_FALLBACKS=["older", "old"]):
        assert unseal(DIGEST, data).payload == BODY


@pytest.mark.parametrize("data", [b"", b"x" * 100, pickle.dumps(BODY), b'{"json": true}' * 10])
def test_foreign_bytes_do_not_open(data: bytes) -> None:
    with pytest.raises(EnvelopeError):
        unseal(DIGEST, data, signed=False)


def test_an_entry_of_a_newer_format_says_so() -> None:
    data = sealed()
    with pytest.raises(EnvelopeError, match="version 9 is not known"):
        unseal(DIGEST, data[:3] + b"\x09" + data[4:])


def test_large_payloads_are_compressed_and_small_ones_are_not() -> None:
    text = b"the same words again and again " * 1000
    assert len(sealed(text, compress_min_bytes=1000)) < len(text) / 10
    assert len(sealed(text)) > len(text)
    assert text in sealed(text, compress_min_bytes=10**6)


def test_a_payload_that_compression_would_grow_is_left_alone() -> None:
    noise = bytes(range(256)) * 2
    assert noise[:256] in sealed(noise[:256], compress_min_bytes=1)


def test_peek_expiry_tells_the_end_of_the_entrys_use() -> None:
    assert peek_expiry(sealed()) == 2000.25
    assert peek_expiry(sealed(stale_until=2500.0)) == 2500.0
    assert peek_expiry(sealed(expires=math.inf)) is None
    assert peek_expiry(b"not an envelope") is None


@pytest.mark.parametrize("header", [b"", b"[]", b'{"model"', b"\xff"])
def test_an_unsigned_entry_whose_header_is_damaged_notes_nothing(header: bytes) -> None:
    data = sealed(sign=False)  # of a store in this process's memory, where no signature is due
    at = len(data) - len(BODY) - len(b"{}")
    size = len(header).to_bytes(4, "little")
    damaged = data[:29] + size + data[33:at] + header + BODY
    envelope = unseal(DIGEST, damaged, signed=False)
    assert (envelope.header, envelope.payload) == ({}, BODY)
