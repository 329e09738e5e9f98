"""A client's Cache-Control: what RFC 9111 and RFC 5861 say of a request's directives."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcache.configuration import CLIENTS_MAY
from llmcache.controls import parse
from llmcache.http.cache_control import controls_of


@pytest.mark.parametrize(
    ("header", "controls"),
    [
        # RFC 9111 section 5.2.1
        ("max-age=5", {"s-maxage": 5}),
        ("max-age=0", {"s-maxage": 0}),
        ("no-cache", {"no-cache": True}),
        ("no-store", {"no-store": True}),
        ("only-if-cached", {"only-if-cached": True}),
        # RFC 5861 section 4
        ("stale-if-error=1200", {"stale-if-error": 1200}),
        # section 5.2: names in any case, arguments as a token or in quotes
        ("No-CACHE", {"no-cache": True}),
        ('max-age="5"', {"s-maxage": 5}),
        # lists, with empty elements and spaces (RFC 9110 section 5.6.1)
        ("no-cache, no-store", {"no-cache": True, "no-store": True}),
        (" ,no-cache ,, max-age = 7,\t", {"no-cache": True, "s-maxage": 7}),
        # section 5.2.3: what is not known is ignored
        ("private, community=UCI, max-stale=3, min-fresh=2, no-transform", {}),
        ("", {}),
        # quotes hold a directive's argument, not directives
        ('community="no-cache, no-store", max-age=1', {"s-maxage": 1}),
        ('community="a\\", no-store", no-cache', {"no-cache": True}),
        # section 4.2.1: of several values the strictest
        ("max-age=9, max-age=3, max-age=5", {"s-maxage": 3}),
        # section 1.2.2: greater than can be counted
        ("max-age=99999999999999999999", {"s-maxage": 2**31}),
        ("max-age=00000000000000000005", {"s-maxage": 5}),
        (f"max-age={'9' * 10_000}", {"s-maxage": 2**31}),
    ],
)
def test_directives_are_read_as_the_rfcs_say(header: str, controls: Any) -> None:
    assert controls_of(header) == controls


@pytest.mark.parametrize("value", ["", "-1", "1.5", "five", "²", "٣", "1e3", '"', "5=no-store"])
def test_an_age_that_cannot_be_read_counts_as_passed(value: str) -> None:
    assert controls_of(f"max-age={value}") == {"s-maxage": 0}
    assert controls_of("max-age") == {"s-maxage": 0}


@pytest.mark.parametrize(
    "header", ["xno-cache", "@no-cache", "no cache", "no-cachex", '"no-cache"', 'x="no-cache', ";"]
)
def test_what_only_looks_like_a_directive_is_none(header: str) -> None:
    assert controls_of(header) == {}


@pytest.mark.parametrize("name", sorted(CLIENTS_MAY))
def test_a_directive_that_is_not_allowed_is_ignored(name: str) -> None:
    header = f"{name}=5" if name in ("max-age", "stale-if-error") else name
    assert controls_of(header, allowed=[name]) != {}
    assert controls_of(header, allowed=CLIENTS_MAY - {name}) == {}
    assert controls_of(header, allowed=()) == {}


@pytest.mark.parametrize(
    ("header", "pragma", "controls"),
    [
        (None, None, {}),
        (None, "no-cache", {"no-cache": True}),
        (None, "x, No-Cache", {"no-cache": True}),
        (None, "xno-cachex", {}),
        ("max-age=5", "no-cache", {"s-maxage": 5}),
        ("", "no-cache", {}),
    ],
)
def test_pragma_counts_only_where_there_is_no_cache_control(
    header: Any, pragma: Any, controls: Any
) -> None:
    assert controls_of(header, pragma=pragma) == controls


WORDS = st.sampled_from([*CLIENTS_MAY, "=", ",", '"', "\\", ";", " ", "5", "-", "\x00", "é"])


@given(st.text() | st.lists(WORDS).map("".join), st.none() | st.text())
def test_no_header_can_break_a_request(header: str, pragma: str | None) -> None:
    for found in (controls_of(header, pragma=pragma), controls_of(None, pragma=pragma)):
        parse(found)
