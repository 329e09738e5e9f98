"""Embedders: what turns a question into a vector, by name or by dotted path.

"embedder": "minilm"
"embedder": {"BACKEND": "provider", "OPTIONS": {"model": "text-embedding-3-small"}}
"""

from __future__ import annotations

from typing import Final

from llmcache import conf
from llmcache.backends.base import BaseBackend
from llmcache.embedders.base import BaseEmbedder

_KNOWN: Final = {
    "fastembed": "llmcache.embedders.fastembed.FastEmbedEmbedder",
    "minilm": "llmcache.embedders.minilm.MiniLMEmbedder",
    "provider": "llmcache.embedders.provider.ProviderEmbedder",
}


def build(setting: str, spec: object, store: BaseBackend) -> BaseEmbedder:
    """The embedder that an option asks for.

    Args:
        setting: where the option stands in the settings, for errors.
        spec: a name that is known, a dotted path, or `{"BACKEND": either, "OPTIONS": {...}}`.
        store: the semantic store that it embeds for.

    Raises:
        ImproperlyConfigured: there is no such embedder, or it refuses its options.
    """
    path, options = conf.named_class(setting, spec, _KNOWN)
    return conf.class_at(setting, path, BaseEmbedder)(setting, options, store)
