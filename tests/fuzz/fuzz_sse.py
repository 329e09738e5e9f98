"""However the network cuts a stream, the same events come of it; a limit holds however it does."""

from __future__ import annotations

from collections.abc import Iterable

from atheris import FuzzedDataProvider

from llmcache.sse import Event, Parser, SSEError

WORDS = (
    b"data: ", b"data", b"data:", b"event: ping", b"event", b": note", b"id: 1", b"retry: 5",
    b"\n", b"\n", b"\n\n", b"\r", b"\r\n", b"\r\r", b"\xef\xbb\xbf", b"\xef", b"\xff", b":", b" ",
)  # fmt: skip


def check(data: bytes) -> None:
    """Raises AssertionError, or what else breaks the promise."""
    given = FuzzedDataProvider(data)
    limit = given.ConsumeIntInRange(0, 60)
    cuts = [given.ConsumeIntInRange(0, 12) for _ in range(given.ConsumeIntInRange(1, 12))]
    text = b"".join(parts(given))
    for bound in (limit, 1 << 20):
        whole = read([text], bound)
        assert read(pieces(text, cuts), bound) == whole
        assert read((text[at : at + 1] for at in range(len(text))), bound) == whole


def parts(given: FuzzedDataProvider) -> Iterable[bytes]:
    """A stream of words of the format, with anything between."""
    while given.remaining_bytes():
        if given.ConsumeBool():
            yield WORDS[given.ConsumeIntInRange(0, len(WORDS) - 1)]
        else:
            yield given.ConsumeBytes(given.ConsumeIntInRange(0, 9))


def pieces(text: bytes, cuts: list[int]) -> Iterable[bytes]:
    """The text in pieces of these sizes, again and again; a size may be 0."""
    at = 0
    for size in cuts:
        yield text[at : at + size]
        at += size
    yield text[at:]


def read(given: Iterable[bytes], limit: int) -> list[Event] | None:
    """The events; None where the stream is over the limit."""
    parser, events = Parser(limit), []
    try:
        for piece in given:
            events += parser.feed(piece)
    except SSEError:
        return None
    return events
