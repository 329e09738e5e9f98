"""Server-sent events read the same however the network cuts them."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcache.sse import Event, Parser, SSEError

LINE = st.sampled_from(
    [
        b"data: one",
        b"data:two",
        b"data:  three",
        b"data",
        b"data:",
        b": a comment",
        b"event: ping",
        b"event",
        b"id: 7",
        b"retry: 10",
        b"unknown: field",
        b"\xef\xbb\xbfdata: late mark",
        "data: \u00e9\U0001f600".encode(),
        b"",
        b"",
    ]
)
END = st.sampled_from([b"\n", b"\r", b"\r\n"])
TEXT = st.lists(st.tuples(LINE, END).map(b"".join), max_size=30).map(b"".join)


def read(*pieces: bytes) -> list[Event]:
    parser = Parser()
    return [event for piece in pieces for event in parser.feed(piece)]


def datas(*pieces: bytes) -> list[bytes]:
    return [event.data for event in read(*pieces)]


@st.composite
def cut(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    mark = draw(st.sampled_from([b"", b"\xef\xbb\xbf"]))
    text = mark + draw(TEXT)
    places = sorted(draw(st.lists(st.integers(0, len(text)), max_size=12)))
    ends = [0, *places, len(text)]
    return text, [text[start:end] for start, end in pairwise(ends)]


@given(cut())
def test_any_split_of_the_bytes_gives_the_same_events(case: tuple[bytes, list[bytes]]) -> None:
    text, pieces = case
    assert read(*pieces) == read(text)
    assert read(*(text[at : at + 1] for at in range(len(text)))) == read(text)


@given(TEXT)
def test_the_kind_of_line_end_makes_no_difference(text: bytes) -> None:
    plain = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    assert read(text) == read(plain) == read(plain.replace(b"\n", b"\r\n"))


def test_the_examples_of_the_standard() -> None:
    assert datas(b"data: YHOO\ndata: +2\ndata: 10\n\n") == [b"YHOO\n+2\n10"]
    stream = (
        b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third\n\n"
    )
    assert datas(stream) == [b"first event", b"second event", b" third"]
    assert datas(b"data\n\ndata\ndata\n\ndata:") == [b"", b"\n"]
    assert datas(b"data:test\n\ndata: test\n\n") == [b"test", b"test"]


def test_an_event_has_the_type_it_names_and_no_later_one() -> None:
    assert read(b"event: ping\ndata: 1\n\ndata: 2\n\n") == [Event(b"1", "ping"), Event(b"2", "")]
    assert read(b"event: ping\n\ndata: 2\n\n") == [Event(b"2", "")]


def test_an_event_that_the_end_cuts_off_is_dropped() -> None:
    assert datas(b"data: 1\n\ndata: 2\n") == [b"1"]


def test_a_mark_of_byte_order_counts_only_at_the_very_start() -> None:
    assert datas(b"\xef", b"\xbb\xbfdata: 1\n\n") == [b"1"]
    assert datas(b"\n\xef\xbb\xbfdata: 1\n\n") == []


def test_a_line_or_an_event_over_the_limit_is_refused() -> None:
    endless = Parser(limit=100)
    with pytest.raises(SSEError, match="line"):
        for _ in range(20):
            endless.feed(b"data: xxxxxx")
    many = Parser(limit=100)
    with pytest.raises(SSEError, match="event"):
        for _ in range(20):
            many.feed(b"data: xxxxxx\n")
    modest = Parser(limit=100)
    assert sum(len(modest.feed(b"data: xxxxxx\n\n")) for _ in range(50)) == 50


@pytest.mark.parametrize("line", [b": a comment", b"unknown: field", b"event: name", b"data: text"])
def test_the_limit_holds_however_the_line_is_cut(line: bytes) -> None:
    for pieces in ([line + b"\n"], [line, b"\n"], [line[:8], line[8:] + b"\n"]):
        parser = Parser(limit=len(line) - 1)
        with pytest.raises(SSEError):
            for piece in pieces:
                parser.feed(piece)
