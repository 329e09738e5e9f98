"""The table of cache controls says of each what it does: every cell is tried."""

from __future__ import annotations

import re
from typing import Any, Final

import pytest

import llmcache
from llmcache import controls
from llmcache.configuration import CLIENTS_MAY
from llmcache.http.cache_control import controls_of
from llmcache.virtual_keys import ALWAYS_ALLOWED, NEVER_ALLOWED
from tests.docs.blocks import PAGES

_ROW: Final = re.compile(r"^\| `([\w-]+)` \|(.*)\|$", re.MULTILINE)
_VALUES: Final[dict[str, Any]] = {
    "bucket": 1,
    "caller": "search",
    "key": "mine",
    "namespace": "winter",
    "s-maxage": 60,
    "scope": "tenant-7",
    "semantic": False,
    "stale-if-error": 60,
    "stale-while-revalidate": 60,
    "tags": ["a"],
    "ttl": 60,
}


def table() -> dict[str, list[str]]:
    text = PAGES["controls"].read_text().split("\n\n**Code**")[0]
    return {name: [cell.strip() for cell in cells.split("|")] for name, cells in _ROW.findall(text)}


TABLE: Final = table()


def given(control: str) -> dict[str, Any]:
    return {control: _VALUES.get(control, True)}


def ask(text: str, cache: dict[str, Any]) -> Any:
    return llmcache.completion("m", messages=[{"role": "user", "content": text}], cache=cache).cache


def yes(cell: str) -> bool:
    assert re.match("(yes|no)\\b", cell)
    return cell.startswith("yes")


def test_every_control_has_a_row() -> None:
    assert TABLE.keys() == controls.NAMES


@pytest.mark.parametrize("control", TABLE)
def test_it_reads_as_the_table_says(control: str) -> None:
    _, reads, _, in_key, *_ = TABLE[control]
    ask("one", given(control) if yes(in_key) else {})
    assert ask("one", given(control)).hit is yes(reads)


@pytest.mark.parametrize("control", TABLE)
def test_it_writes_as_the_table_says(control: str) -> None:
    _, _, writes, in_key, *_ = TABLE[control]
    try:
        ask("two", given(control))
    except llmcache.NotCached:
        assert control == "only-if-cached"
    assert ask("two", given(control) if yes(in_key) else {}).hit is yes(writes)


def test_a_ttl_of_nothing_writes_nothing() -> None:
    assert "no if `0`" in TABLE["ttl"][2]
    ask("three", {"ttl": 0})
    assert not ask("three", {}).hit


@pytest.mark.parametrize("control", TABLE)
def test_it_is_in_the_key_as_the_table_says(control: str) -> None:
    asked: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "four"}]}
    plain = llmcache.explain_key(**asked)["digest"]
    with_it = llmcache.explain_key(**asked, cache=given(control))["digest"]
    assert (plain != with_it) is yes(TABLE[control][3])


@pytest.mark.parametrize("control", TABLE)
def test_visitors_may_use_it_as_the_table_says(control: str) -> None:
    header = f"{control}=60, no-cache, no-store, only-if-cached, max-age=60"
    asked = controls_of(header, CLIENTS_MAY)
    assert TABLE[control][4].startswith("if allowed" if control in asked else "no")


@pytest.mark.parametrize("control", TABLE)
def test_virtual_keys_may_use_it_as_the_table_says(control: str) -> None:
    allowed = "yes" if control in ALWAYS_ALLOWED else "if given"
    assert TABLE[control][5] == ("no" if control in NEVER_ALLOWED else allowed)
