"""Judges: a second opinion on a match of which similarity is not sure, by name or dotted path.

"judge": {"BACKEND": "provider", "OPTIONS": {"model": "gpt-4o-mini"}}
"""

from __future__ import annotations

from typing import Final

from llmcache import conf
from llmcache.judges.base import BaseJudge

_KNOWN: Final = {
    "cross_encoder": "llmcache.judges.cross_encoder.CrossEncoderJudge",
    "provider": "llmcache.judges.provider.ProviderJudge",
}


def build(setting: str, spec: object) -> BaseJudge:
    """The judge that an option asks for.

    Args:
        setting: where the option stands in the settings, for errors.
        spec: a name that is known, a dotted path, or `{"BACKEND": either, "OPTIONS": {...}}`.

    Raises:
        ImproperlyConfigured: there is no such judge, or it refuses its options.
    """
    path, options = conf.named_class(setting, spec, _KNOWN)
    return conf.class_at(setting, path, BaseJudge)(setting, options)
