"""Layers named by aliases of LLMCACHE: what works, and what is refused with its remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

import llmcache
from llmcache.backends import build, stores
from llmcache.backends.base import BaseBackend
from llmcache.backends.layered import LayeredBackend
from llmcache.conf import BackendSettings
from tests.backends.spied import A, sealed

LAYERED = "llmcache.backends.layered.LayeredBackend"
MEMORY = "llmcache.backends.memory.MemoryBackend"
DISK = "llmcache.backends.disk.DiskBackend"


def settings(tmp_path: Path, **options: Any) -> dict[str, Any]:
    return {
        "fast": {"BACKEND": MEMORY},
        "slow": {"BACKEND": DISK, "LOCATION": str(tmp_path)},
        "tiered": {"BACKEND": LAYERED, "OPTIONS": {"layers": ["fast", "slow"], **options}},
    }


def test_the_layers_are_the_stores_of_their_aliases(tmp_path: Path) -> None:
    with override_settings(LLMCACHE=settings(tmp_path)):
        tiered = stores["tiered"]
        assert isinstance(tiered, LayeredBackend)
        assert tiered.layers == (stores["fast"], stores["slow"])
        tiered.set(A, b"1", 60)
        assert stores["slow"].get(A) == b"1"


def test_an_answer_names_the_layer_that_it_came_from(tmp_path: Path) -> None:
    ask: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "?"}]}
    with override_settings(LLMCACHE=settings(tmp_path)):
        first = llmcache.completion(**ask, using="tiered")
        assert llmcache.completion(**ask, using="tiered").cache.layer == "fast"
        stores["fast"].delete(first.cache.key)
        assert llmcache.completion(**ask, using="tiered").cache.layer == "slow"
        assert llmcache.completion(**ask, using="tiered").cache.layer == "fast"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"layers": []}, "must be a list of aliases of LLMCACHE"),
        ({"layers": "fast"}, "must be a list of aliases of LLMCACHE"),
        ({"layers": ["fast", "slwo"]}, "Unknown alias of LLMCACHE 'slwo'. Did you mean 'slow'"),
        ({"layers": ["fast", "fast"]}, "names an alias twice"),
        ({"layers": ["fast", "tiered"]}, "in a circle: tiered -> tiered"),
        ({"local_ttl": 0}, "local_ttl.*above 0, or None"),
        ({"local_ttl": "5"}, "local_ttl.*above 0, or None"),
        ({"ttl": 5}, "Unknown key.*Known: layers, local_ttl"),
    ],
)
def test_a_wrong_setting_is_refused_with_its_remedy(
    tmp_path: Path, options: dict[str, Any], says: str
) -> None:
    with (
        override_settings(LLMCACHE=settings(tmp_path, **options)),
        pytest.raises(ImproperlyConfigured, match=says),
    ):
        _ = stores["tiered"]


def test_a_circle_over_several_aliases_is_an_error_and_no_endless_recursion() -> None:
    def layered(*layers: str) -> dict[str, Any]:
        return {"BACKEND": LAYERED, "OPTIONS": {"layers": list(layers)}}

    aliases = {"a": layered("b"), "b": layered("m", "c"), "c": layered("a"), "m": {}}
    with (
        override_settings(LLMCACHE=aliases),
        pytest.raises(ImproperlyConfigured, match="a -> b -> c -> a"),
    ):
        _ = stores["a"]


def test_a_layered_store_may_be_a_layer(tmp_path: Path) -> None:
    both = settings(tmp_path)
    both["outer"] = {"BACKEND": LAYERED, "OPTIONS": {"layers": ["near", "tiered"]}}
    both["near"] = {"BACKEND": MEMORY}
    with override_settings(LLMCACHE=both):
        stores["slow"].set(A, sealed(A), 60)
        assert stores["outer"].get(A) is not None
        assert [stores[alias].get(A) is not None for alias in ("near", "fast")] == [True, True]


def test_a_key_prefix_that_would_do_nothing_is_warned_about(tmp_path: Path) -> None:
    with override_settings(LLMCACHE=settings(tmp_path)):
        described = BackendSettings(
            alias="x", backend=LAYERED, key_prefix="p", options={"layers": ["fast"]}
        )
        backend: BaseBackend = build(described)
        assert [message.id for message in backend.check()] == ["llmcache.W105"]
        assert stores["tiered"].check() == []


@pytest.mark.parametrize(
    ("layer", "above", "warned"),
    [
        ({}, {"TIMEOUT": 60}, False),
        ({"TIMEOUT": 60}, {"TIMEOUT": 60}, False),
        ({"TIMEOUT": 60}, {}, True),
        ({"TIMEOUT": 86400}, {"TIMEOUT": 60}, True),
        ({"TIMEOUT": None}, {"TIMEOUT": 60}, True),
    ],
)
def test_a_layers_timeout_that_would_do_nothing_is_warned_about(
    tmp_path: Path, layer: dict[str, Any], above: dict[str, Any], warned: bool
) -> None:
    aliases = settings(tmp_path)
    aliases["fast"] |= layer
    aliases["tiered"] |= above
    with override_settings(LLMCACHE=aliases):
        messages = stores["tiered"].check()
        assert [message.id for message in messages] == ["llmcache.W105"] * warned
        assert all("LLMCACHE['fast']['TIMEOUT']" in message.msg for message in messages)
