"""The bytes of a stored entry: a fixed prefix, a JSON header and the payload, signed together.

    offset  size  field
    0       4     magic "LLC" and the format's version
    4       1     flags: 1 signed, 2 zlib-compressed payload, 4 payload is a recorded stream,
                  8 encrypted
    5       8     created, unix seconds, float64 little-endian
    13      8     fresh until, unix seconds; infinity for no end
    21      8     usable as a stale answer until, unix seconds; never before fresh until
    29      4     length of the header
    33      16    keyed BLAKE2b over the digest and all other bytes; zeros when unsigned; of an
                  encrypted entry its key's number and its nonce
    49      ...   header (JSON object), then the payload; if encrypted, both are, and the first 33
                  bytes and the digest are authenticated with them

The signature covers the digest, so an entry moved to another key does not open. Nothing is ever
unpickled. The header is parsed only when somebody asks for what is in it.
"""

from __future__ import annotations

import hmac
import math
import zlib
from collections.abc import Mapping
from hashlib import blake2b
from struct import Struct
from typing import Any, Final

import orjson
from django.conf import settings
from django.core.signals import setting_changed

from llmcache import encryption
from llmcache.exceptions import LLMCacheError

MAGIC: Final = b"LLC\x01"
SIGNED: Final = 1
COMPRESSED: Final = 2
STREAM: Final = 4
ENCRYPTED: Final = 8
_PREFIX: Final = Struct("<4sBdddI")
_MAC_SIZE: Final = 16
_HEADER_AT: Final = _PREFIX.size + _MAC_SIZE
_NO_MAC: Final = bytes(_MAC_SIZE)
_MAX_PAYLOAD: Final = 1 << 30
Buffer = bytes | memoryview


class EnvelopeError(LLMCacheError):
    """The bytes are damaged, forged, foreign or of a version this release does not know, or there
    is no key for them.
    """


class Envelope:
    """An opened entry.

    Attributes:
        created, expires, stale_until: unix seconds; infinity where there is no end.
        payload: the body as the provider sent it or, if `is_stream`, its events' JSON, one a line.
    """

    __slots__ = (
        "_header",
        "_raw_header",
        "created",
        "expires",
        "is_stream",
        "payload",
        "stale_until",
    )

    def __init__(
        self,
        created: float,
        expires: float,
        stale_until: float,
        is_stream: bool,
        raw_header: bytes,
        payload: bytes,
    ) -> None:
        self.created = created
        self.expires = expires
        self.stale_until = stale_until
        self.is_stream = is_stream
        self.payload = payload
        self._raw_header = raw_header
        self._header: dict[str, Any] | None = None

    @property
    def header(self) -> dict[str, Any]:
        """What the writer noted about the entry: model, usage, tags and so on."""
        if self._header is None:
            try:
                parsed = orjson.loads(self._raw_header)
            except orjson.JSONDecodeError:  # only where no signature is due
                parsed = None
            self._header = parsed if isinstance(parsed, dict) else {}
        return self._header

    @property
    def noted(self) -> bytes | dict[str, Any]:
        """The header as it is at hand: parsed already, or its JSON."""
        return self._raw_header if self._header is None else self._header

    def note(self, header: dict[str, Any]) -> None:
        """Give an entry made in memory its header."""
        self._header = header


_signing_keys: tuple[bytes, ...] | None = None


def _derive(secret: str | bytes) -> bytes:
    raw = secret.encode() if isinstance(secret, str) else secret
    return hmac.digest(raw, b"llmcache.envelope.v1", "sha256")


def signing_keys() -> tuple[bytes, ...]:
    """Keys derived from SECRET_KEY (signs) and SECRET_KEY_FALLBACKS (still verify)."""
    global _signing_keys
    if _signing_keys is None:
        secrets = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
        _signing_keys = tuple(_derive(secret) for secret in secrets)
    return _signing_keys


def _forget_keys(*, setting: str, **kwargs: object) -> None:
    global _signing_keys
    if setting in ("SECRET_KEY", "SECRET_KEY_FALLBACKS"):
        _signing_keys = None


setting_changed.connect(_forget_keys, dispatch_uid="llmcache.envelope.keys")


def _mac(key: bytes, digest: str, prefix: Buffer, rest: Buffer) -> bytes:
    mac = blake2b(digest.encode(), digest_size=_MAC_SIZE, key=key)
    mac.update(prefix)
    mac.update(rest)
    return mac.digest()


def seal(
    digest: str,
    payload: bytes,
    *,
    created: float,
    expires: float = math.inf,
    stale_until: float = 0.0,
    is_stream: bool = False,
    header: Mapping[str, Any] | None = None,
    sign: bool = True,
    compress_min_bytes: int = 0,
) -> bytes:
    """Wrap a payload for storage under a digest, encrypted if the settings have a key for that.

    Args:
        created, expires, stale_until: unix seconds; `stale_until` before `expires` means `expires`.
        sign: False only for stores that no other program can write to; such entries are not
            encrypted either.
        compress_min_bytes: compress payloads of this size and more, if it makes them smaller; 0:
            never.

    Raises:
        EnvelopeError: ENCRYPTION_KEYS cannot be used.
    """
    flags = STREAM if is_stream else 0
    if compress_min_bytes and len(payload) >= compress_min_bytes:
        smaller = zlib.compress(payload, 1)
        if len(smaller) < len(payload):
            payload = smaller
            flags |= COMPRESSED
    keys = _keys() if sign else None
    if keys:
        flags |= ENCRYPTED
    elif sign:
        flags |= SIGNED
    raw_header = orjson.dumps(header or {})
    prefix = _PREFIX.pack(
        MAGIC, flags, created, expires, max(expires, stale_until), len(raw_header)
    )
    rest = raw_header + payload
    if keys:
        stamp, rest = keys.encrypt(digest, prefix, rest)
        return prefix + stamp + rest
    mac = _mac(signing_keys()[0], digest, prefix, rest) if sign else _NO_MAC
    return prefix + mac + rest


def unseal(digest: str, data: bytes, *, signed: bool = True) -> Envelope:
    """Open an entry stored under a digest.

    Args:
        signed: whether a valid signature is required, or encryption where there is a key for that;
            False only for process-local stores.

    Raises:
        EnvelopeError: with the reason: foreign, version, unsigned, signature, encryption or
            damaged.
    """
    if len(data) < _HEADER_AT:
        raise EnvelopeError("damaged: shorter than an envelope")
    magic, flags, created, expires, stale_until, header_size = _PREFIX.unpack_from(data)
    if magic != MAGIC:
        known = magic[:3] == MAGIC[:3]
        raise EnvelopeError(f"version {magic[3]} is not known" if known else "foreign: no envelope")
    header_at = _HEADER_AT
    if flags & ENCRYPTED:
        data, header_at = _decrypted(digest, data), 0
    elif signed:
        if not flags & SIGNED:
            raise EnvelopeError("unsigned")
        if not _keys().takes_plain:
            raise EnvelopeError("not encrypted, while ENCRYPTION_KEYS has keys")
        _verify(digest, data)
    payload_at = header_at + header_size
    if payload_at > len(data):
        raise EnvelopeError("damaged: cut short")
    payload = data[payload_at:]
    if flags & COMPRESSED:
        payload = _decompress(payload)
    return Envelope(
        created, expires, stale_until, bool(flags & STREAM), data[header_at:payload_at], payload
    )


def _verify(digest: str, data: bytes) -> None:
    mac, seen = data[_PREFIX.size : _HEADER_AT], memoryview(data)  # which copies no payload
    for key in signing_keys():
        if hmac.compare_digest(mac, _mac(key, digest, seen[: _PREFIX.size], seen[_HEADER_AT:])):
            return
    raise EnvelopeError("signature does not match")


def _keys() -> encryption.Ring:
    try:
        return encryption.ring()
    except encryption.NoKeys as error:
        raise EnvelopeError(str(error)) from error


def _decrypted(digest: str, data: bytes) -> bytes:
    prefix, stamp, rest = data[: _PREFIX.size], data[_PREFIX.size : _HEADER_AT], data[_HEADER_AT:]
    try:
        return _keys().decrypt(digest, prefix, stamp, rest)
    except encryption.NotDecrypted as error:
        raise EnvelopeError(str(error)) from error


def _decompress(payload: bytes) -> bytes:
    inflater = zlib.decompressobj()
    try:
        whole = inflater.decompress(payload, _MAX_PAYLOAD)
    except zlib.error as error:
        raise EnvelopeError(f"damaged: {error}") from error
    if not inflater.eof:
        raise EnvelopeError("damaged: the payload is cut short or over 1 GiB")
    return whole


def peek_freshness(data: bytes) -> float:
    """Until when the entry answers without being stale, in unix seconds, unverified; infinity when
    it has no end or the bytes are not an envelope.
    """
    if len(data) < _HEADER_AT or data[:4] != MAGIC:
        return math.inf
    expires = float(_PREFIX.unpack_from(data)[3])
    return math.inf if math.isnan(expires) else expires


def peek_expiry(data: bytes) -> float | None:
    """When the entry stops being of use (its stale window included), in unix seconds, unverified.

    None when it has no end or the bytes are not an envelope.
    """
    if len(data) < _HEADER_AT or data[:4] != MAGIC:
        return None
    stale_until = float(_PREFIX.unpack_from(data)[4])
    return stale_until if math.isfinite(stale_until) else None
