"""What the provider's embedder makes of its options and settings."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from llmcache import embedders
from llmcache.backends import stores
from tests.embedders.test_provider import make


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"model": ""}, "model"),
        ({"model": None}, "model"),
        ({"timeout": 0}, "timeout"),
        ({"cache_size": 0}, "cache_size"),
        ({"dimensions": "many"}, "dimensions"),
        ({"dimension": 3}, "dimensions"),
    ],
)
def test_a_wrong_option_is_an_error_that_names_it(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=words):
        make(stores["default"], **options)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("minlim", "minilm"),
        (3, "dict"),
        ({"OPTIONS": {}}, "BACKEND"),
        ({"BACKEND": "minilm", "OPTION": {}}, "OPTIONS"),
        ("llmcache.conf.Config", "BaseEmbedder"),
    ],
)
def test_a_wrong_embedder_is_an_error_that_names_the_right_ones(spec: Any, words: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=words):
        embedders.build("EMBEDDER", spec, stores["default"])
