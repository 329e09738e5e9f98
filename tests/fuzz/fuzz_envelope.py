"""Any bytes either do not open or open as what was sealed."""

from __future__ import annotations

import math

from atheris import FuzzedDataProvider

from llmcache.envelope import EnvelopeError, peek_expiry, seal, unseal

DIGEST = "ab" * 32
OTHER = "cd" * 32


def check(data: bytes) -> None:
    """Raises AssertionError, or what else breaks the promise."""
    opens_nothing_foreign(data)
    given = FuzzedDataProvider(data)
    payload = given.ConsumeBytes(given.ConsumeIntInRange(0, 200))
    header = {
        "model": given.ConsumeUnicodeNoSurrogates(20),
        "seconds": given.ConsumeIntInRange(0, 9),
    }
    created, expires = given.ConsumeRegularFloat(), given.ConsumeRegularFloat()
    is_stream, sign = given.ConsumeBool(), given.ConsumeBool()
    sealed = seal(
        DIGEST,
        payload,
        created=created,
        expires=expires,
        stale_until=given.ConsumeRegularFloat(),
        is_stream=is_stream,
        header=header,
        sign=sign,
        compress_min_bytes=given.ConsumeIntInRange(0, 50),
    )
    opened = unseal(DIGEST, sealed, signed=sign)
    assert (opened.payload, opened.is_stream, opened.header) == (payload, is_stream, header)
    assert (opened.created, opened.expires) == (created, expires)
    assert opened.stale_until >= expires
    start = given.ConsumeIntInRange(0, len(sealed))
    end = given.ConsumeIntInRange(start, len(sealed))
    changed = sealed[:start] + given.ConsumeBytes(20) + sealed[end:]
    if sign:
        assert opens(DIGEST, changed) == (changed == sealed)
        assert not opens(OTHER, sealed)
    else:
        opens_nothing_foreign(changed)


def opens_nothing_foreign(data: bytes) -> None:
    """Bytes that nobody has signed: where that is due they don't open, elsewhere they open or say
    why not."""
    assert not opens(DIGEST, data)
    end = peek_expiry(data)
    assert end is None or math.isfinite(end)
    try:
        opened = unseal(DIGEST, data, signed=False)
    except EnvelopeError:
        return
    assert isinstance(opened.header, dict)
    assert isinstance(opened.payload, bytes)


def opens(digest: str, data: bytes) -> bool:
    """Whether an entry opens where signatures are due; whatever else it does is an error."""
    try:
        unseal(digest, data)
    except EnvelopeError:
        return False
    return True
