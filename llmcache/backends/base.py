"""What every store must offer: opaque bytes under a digest, for a time, sync and async.

A backend knows nothing of models, prompts or envelopes. It may raise anything that its library
raises: the drivers turn an error into a counted, logged miss. What it must never do is answer with
other bytes than were stored under that digest, or drop an entry's ttl.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar

from django.core.checks import CheckMessage

from llmcache.conf import BackendSettings
from llmcache.exceptions import UnsupportedOperation

T = TypeVar("T")

CLAIM: Final = b"claim:"
"""How the token of a claim begins."""

# One pool for all stores without an async client. Django's own async default runs every call on one
# thread, one after the other; stores are thread-safe, so theirs need not queue.
_threads: ThreadPoolExecutor


def _start_afresh() -> None:
    global _threads
    _threads = ThreadPoolExecutor(max_workers=32, thread_name_prefix="llmcache-store")


_start_afresh()
# Threads stay behind in the parent: a child that used its pool would wait for ever.
os.register_at_fork(after_in_child=_start_afresh)


async def run_in_thread(function: Callable[..., T], *args: Any) -> T:
    """Await a blocking call on the stores' thread pool."""
    return await asyncio.get_running_loop().run_in_executor(_threads, partial(function, *args))


class Item(NamedTuple):
    """One entry to write: its digest, its bytes, and its ttl in seconds (None: no end)."""

    digest: str
    data: bytes
    ttl: float | None


class BaseBackend:
    """A store of bytes. Subclasses implement the sync methods; the async twins run them in a thread
    unless the subclass has something better.

    Every digest is a lowercase hexadecimal string. Every ttl is in seconds, may be a fraction, and
    is None for no end; a ttl of 0 or less is never passed. An entry must not disappear before its
    ttl (a store short of room may evict it) and, where `exact_ttl` is True, is gone once it has
    passed.
    """

    process_local: bool = False
    """True when the entries live and die with this process: no other program can write them, so
    they need no signature and no compression.
    """
    exact_ttl: bool = True
    """False when the store rounds a ttl up to whole seconds. The envelope's own expiry still holds.
    """
    supports_iterate: bool = True
    supports_clear: bool = True
    supports_claims: bool = False
    """Whether processes can agree over the store which of them makes an answer."""
    has_own_breakers: bool = False
    """Whether reads leave alone what of the store keeps failing, so that nobody else need to."""

    def __init__(self, settings: BackendSettings) -> None:
        self.settings = settings
        self.alias = settings.alias
        self.prefix = f"llmcache:{settings.key_prefix}:{settings.version}:"

    def make_key(self, digest: str) -> str:
        """The key under which the store keeps a digest; starts with this alias's own prefix."""
        return self.prefix + digest

    @property
    def layers(self) -> tuple[BaseBackend, ...]:
        """The stores that this one spreads its entries over, the fastest first, the last one with
        all of them; none where it is a store by itself.
        """
        return ()

    # --- sync ---

    def get(self, digest: str) -> bytes | None:
        """The bytes of one entry, or None when it is absent or past its ttl."""
        raise NotImplementedError

    def get_many(self, digests: Iterable[str]) -> dict[str, bytes]:
        """The entries that exist, by digest; one round trip where the store can."""
        found = {}
        for digest in digests:
            data = self.get(digest)
            if data is not None:
                found[digest] = data
        return found

    def get_with_layer(self, digest: str) -> tuple[bytes, str] | None:
        """The bytes of one entry and the alias of the layer that had them; None when none has.
        Asked in place of `get` where there are `layers`.
        """
        data = self.get(digest)
        return None if data is None else (data, self.alias)

    def present(self, digests: Iterable[str]) -> dict[str, bytes]:
        """As `get_many`, for who concludes something from an entry's absence: raises if any of them
        could not be looked for. A store that answers as far as it can overrides this.
        """
        return self.get_many(digests)

    def set(self, digest: str, data: bytes, ttl: float | None) -> None:
        """Store bytes under a digest, replacing what was there."""
        raise NotImplementedError

    def set_many(self, items: Iterable[Item]) -> None:
        """Store several entries, each with its own ttl; one round trip where the store can."""
        for item in items:
            self.set(*item)

    def delete(self, digest: str) -> bool:
        """Remove one entry; True if it was there."""
        raise NotImplementedError

    def delete_many(self, digests: Iterable[str]) -> int:
        """Remove entries; how many were there."""
        return sum(self.delete(digest) for digest in digests)

    def touch(self, digest: str, ttl: float | None) -> bool:
        """Give an entry a new ttl from now without moving its bytes; False if it is absent."""
        raise NotImplementedError

    def replace(self, digest: str, old: bytes, data: bytes, ttl: float | None) -> bool:
        """Store bytes in the place of others; False, and nothing is done, if an entry is not what
        it was. Stores that can do it in one step override this: here a change that comes between
        is overwritten.
        """
        if self.get(digest) != old:
            return False
        self.set(digest, data, ttl)
        return True

    def clear(self) -> int:
        """Remove every entry under this alias's own prefix and nothing else; how many there
        were.
        """
        raise UnsupportedOperation(
            f"{type(self).__name__} cannot clear only its own entries; "
            f"raise VERSION of LLMCACHE[{self.alias!r}] instead."
        )

    def iterate(self) -> Iterator[str]:
        """The digests of the live entries under this alias's prefix, in no order, lazily. One may
        be repeated where others are written meanwhile.
        """
        raise UnsupportedOperation(f"{type(self).__name__} cannot list its entries.")

    def sweep(self, limit: int = 1000) -> int:
        """Delete up to `limit` expired entries that the store would not delete by itself; how
        many.
        """
        return 0

    # --- claims: small values beside the entries, never listed and never cleared with them ---

    def claim(self, name: str, token: bytes, ttl: float) -> bytes:
        """Put a token under a name, unless another token is there that has not ended.

        Args:
            name: a digest; a claim and an entry of one name have nothing to do with each other.
            token: begins with CLAIM. A value that does not is a note: it gives way to a token.

        Returns:
            The token that is there now: the caller's own if the claim is theirs.
        """
        raise UnsupportedOperation(f"{type(self).__name__} has no claims.")

    def renew_claim(self, name: str, token: bytes, ttl: float) -> bool:
        """Give a claim a new ttl from now; False if it is another's or nobody's by now."""
        raise UnsupportedOperation(f"{type(self).__name__} has no claims.")

    def end_claim(self, name: str, token: bytes, note: bytes | None, ttl: float) -> None:
        """Take a claim away, if it is still this token's, and leave a note in its place if there
        is one, for so many seconds."""
        raise UnsupportedOperation(f"{type(self).__name__} has no claims.")

    def claimed(self, name: str) -> bytes | None:
        """The token or the note under a name."""
        raise UnsupportedOperation(f"{type(self).__name__} has no claims.")

    def post(self, slot: str, data: bytes, ttl: float) -> None:
        """Leave a message to other processes, for so many seconds.

        Args:
            slot: a digest, a hyphen, and what it is about: no entry and no claim has such a name.
        """
        raise UnsupportedOperation(f"{type(self).__name__} has no claims.")

    def posted(self, slot: str) -> bytes | None:
        """The message in a slot."""
        raise UnsupportedOperation(f"{type(self).__name__} has no claims.")

    def check(self) -> list[CheckMessage]:
        """System check messages about this alias's settings; must not touch the network."""
        return []

    def close(self) -> None:
        """Give back connections and files; the backend may be used again afterwards."""

    # --- async ---

    async def aget(self, digest: str) -> bytes | None:
        return await run_in_thread(self.get, digest)

    async def aget_with_layer(self, digest: str) -> tuple[bytes, str] | None:
        return await run_in_thread(self.get_with_layer, digest)

    async def aget_many(self, digests: Iterable[str]) -> dict[str, bytes]:
        return await run_in_thread(self.get_many, list(digests))

    async def aset(self, digest: str, data: bytes, ttl: float | None) -> None:
        await run_in_thread(self.set, digest, data, ttl)

    async def aset_many(self, items: Iterable[Item]) -> None:
        await run_in_thread(self.set_many, list(items))

    async def adelete(self, digest: str) -> bool:
        return await run_in_thread(self.delete, digest)

    async def adelete_many(self, digests: Iterable[str]) -> int:
        return await run_in_thread(self.delete_many, list(digests))

    async def atouch(self, digest: str, ttl: float | None) -> bool:
        return await run_in_thread(self.touch, digest, ttl)

    async def aclear(self) -> int:
        return await run_in_thread(self.clear)

    async def aclaim(self, name: str, token: bytes, ttl: float) -> bytes:
        given_up = threading.Event()

        def make() -> bytes:
            held = self.claim(name, token, ttl)
            if given_up.is_set():  # it came too late for whoever would have ended it
                self.end_claim(name, token, None, 0.0)
            return held

        try:
            return await run_in_thread(make)
        except asyncio.CancelledError:
            given_up.set()
            raise

    async def aend_claim(self, name: str, token: bytes, note: bytes | None, ttl: float) -> None:
        await run_in_thread(self.end_claim, name, token, note, ttl)

    async def aclaimed(self, name: str) -> bytes | None:
        return await run_in_thread(self.claimed, name)

    async def apost(self, slot: str, data: bytes, ttl: float) -> None:
        await run_in_thread(self.post, slot, data, ttl)

    async def aposted(self, slot: str) -> bytes | None:
        return await run_in_thread(self.posted, slot)

    async def aclose(self) -> None:
        await run_in_thread(self.close)
