"""Encryption of what shared stores keep: AES-256-GCM under `LLMCACHE_CONFIG["ENCRYPTION_KEYS"]`.

The first key encrypts, all of them decrypt. What is encrypted is bound to a name, such as the
digest of an entry: from each key and name a key of their own is derived, so nothing opens under
another name, and the random nonces of a busy site need never be counted.

The package `cryptography` is imported when there are keys, and they are first used.
"""

from __future__ import annotations

import secrets
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable
from contextlib import suppress
from hashlib import blake2b, sha256
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from llmcache import conf, packages
from llmcache.exceptions import LLMCacheError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

PLAIN: Final = "plain"
"""Among the keys: what was stored before there was encryption still opens."""
SETTING: Final = "LLMCACHE_CONFIG['ENCRYPTION_KEYS']"
STAMP_SIZE: Final = 16
_ID_SIZE: Final = 4
_NONCE_SIZE: Final = STAMP_SIZE - _ID_SIZE
_KEY_SIZE: Final = 32
_VEIL: Final = "llmcache-encrypted:"
_TEXT: Final = "text "
"""Before the name of a short text: an entry never opens as one, nor the reverse."""


class NoKeys(ImproperlyConfigured):
    """The setting cannot be used; the text says why, and nothing of the keys."""


class NotDecrypted(LLMCacheError):
    """No key opens it; the text says why, and nothing of the keys."""


class Key:
    """One secret, and the few bytes that tell in a store which one was used."""

    __slots__ = ("_cipher", "_secret", "id")

    def __init__(self, secret: bytes) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._cipher = AESGCM
        self._secret = secret
        self.id = sha256(b"llmcache key id" + secret).digest()[:_ID_SIZE]

    def cipher(self, name: str) -> AESGCM:
        """The cipher for what has this name."""
        derived = blake2b(
            name.encode(), key=self._secret, digest_size=_KEY_SIZE, person=b"llmcache entry"
        )
        return self._cipher(derived.digest())


class Ring:
    """The keys of the settings.

    Attributes:
        keys: the first encrypts; none if there is no encryption.
        takes_plain: whether what is only signed may be used.
    """

    __slots__ = ("keys", "takes_plain")

    def __init__(self, keys: tuple[Key, ...], *, takes_plain: bool) -> None:
        self.keys = keys
        self.takes_plain = takes_plain

    def __bool__(self) -> bool:
        return bool(self.keys)

    def encrypt(self, name: str, about: bytes, text: bytes) -> tuple[bytes, bytes]:
        """What tells key and nonce, STAMP_SIZE bytes, and the encrypted text.

        Args:
            about: kept beside it in the clear; a change of it is noticed.
        """
        key, nonce = self.keys[0], secrets.token_bytes(_NONCE_SIZE)
        return key.id + nonce, key.cipher(name).encrypt(nonce, text, about)

    def decrypt(self, name: str, about: bytes, stamp: bytes, data: bytes) -> bytes:
        """The text again.

        Raises:
            NotDecrypted: no key opens it under this name.
        """
        wanted, nonce = stamp[:_ID_SIZE], stamp[_ID_SIZE:]
        fitting = [key for key in self.keys if key.id == wanted]
        if not fitting:
            raise NotDecrypted("encrypted under a key that ENCRYPTION_KEYS does not have")
        from cryptography.exceptions import InvalidTag

        for key in fitting:
            try:
                text = key.cipher(name).decrypt(nonce, data, about)
            except InvalidTag:
                continue
            return text
        raise NotDecrypted("encrypted, and changed since, or made for another name")


_RETRY: Final = 5.0
"""Seconds until a function that has failed is asked for the keys again."""
_ring: Ring | None = None
_failure: tuple[float, str] = (0.0, "")


def ring() -> Ring:
    """The keys, read once.

    Raises:
        NoKeys: a key cannot be used, the package is missing, or the function that has them failed.
    """
    global _ring, _failure
    if _ring is None:
        retry_at, why = _failure
        if monotonic() < retry_at:
            raise NoKeys(why)
        try:
            _ring = _read(conf.config().encryption_keys)
        except NoKeys as error:
            _failure = (monotonic() + _RETRY, str(error))
            raise
    return _ring


def _forget(*, setting: str, **kwargs: object) -> None:
    global _ring, _failure
    if setting == "LLMCACHE_CONFIG":
        _ring, _failure = None, (0.0, "")


setting_changed.connect(_forget, dispatch_uid="llmcache.encryption.keys")


def _read(given: Any) -> Ring:
    listed = list(_listed(given))
    plain = PLAIN in listed
    if plain and (listed[0] == PLAIN or listed.count(PLAIN) > 1):
        raise NoKeys(f"{SETTING} must begin with a key, and may name {PLAIN!r} once after it.")
    secrets_ = [_decoded(text, at) for at, text in enumerate(listed) if text != PLAIN]
    if len(set(secrets_)) < len(secrets_):
        raise NoKeys(f"{SETTING} has the same key twice; leave one of them out.")
    if secrets_:
        try:
            packages.require_package(SETTING, "cryptography", "encryption")
        except ImproperlyConfigured as error:
            raise NoKeys(str(error)) from None
    return Ring(tuple(map(Key, secrets_)), takes_plain=plain or not secrets_)


def _listed(given: Any) -> Iterable[Any]:
    if isinstance(given, str):
        try:
            given = import_string(given)
        except ImportError:  # its text may be a key that somebody has written without a list
            raise NoKeys(
                f"{SETTING} must be a list of keys, a function that returns one, or its dotted "
                "path; what it is cannot be imported. A single key is a list too: [key]."
            ) from None
    if callable(given):
        function: Callable[[], Any] = given
        try:
            given = function()
        except Exception as error:  # its text may hold a secret
            raise NoKeys(f"The function of {SETTING} failed: {type(error).__name__}") from error
    if not isinstance(given, (list, tuple)):
        raise NoKeys(
            f"{SETTING} must be a list of keys, or a function that returns one, not "
            f"{type(given).__name__}."
        )
    return given


def _decoded(text: Any, at: int) -> bytes:
    raw = b""
    if isinstance(text, str):
        with suppress(ValueError):
            raw = b64decode(text.strip().rstrip("=") + "=", altchars=b"-_", validate=True)
    if len(raw) != _KEY_SIZE:
        raise NoKeys(
            f"{SETTING}[{at}] is no key: a key is 32 random bytes in URL-safe base64, as "
            "`python -c 'import secrets; print(secrets.token_urlsafe(32))'` makes one."
        )
    return raw


# --- short texts that lie beside entries ---


def veil(name: str, text: str) -> str:
    """A text as a shared store is to keep it; as it is where there is no encryption."""
    keys = ring()
    if not keys:
        return text
    stamp, data = keys.encrypt(_TEXT + name, b"", text.encode("utf-8", "surrogatepass"))
    return _VEIL + b64encode(stamp + data).decode()


def unveil(name: str, kept: str) -> str:
    """The text again.

    Raises:
        NotDecrypted: no key opens it, or it is not encrypted and should be.
        NoKeys: as `ring`.
    """
    keys = ring()
    if not kept.startswith(_VEIL):
        if not keys.takes_plain:
            raise NotDecrypted("not encrypted, while ENCRYPTION_KEYS has keys")
        return kept
    try:
        raw = b64decode(kept[len(_VEIL) :], validate=True)
        text = keys.decrypt(_TEXT + name, b"", raw[:STAMP_SIZE], raw[STAMP_SIZE:])
        return text.decode("utf-8", "surrogatepass")
    except ValueError as error:
        raise NotDecrypted(f"damaged: {error}") from error
