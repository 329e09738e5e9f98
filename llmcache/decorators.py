"""The second door: decorators that cache what the site's own views and functions answer.

    from llmcache.decorators import cached, cached_completion

Both raise InvalidRequest where they are written, if an argument of theirs is wrong.
"""

from __future__ import annotations

from llmcache.functions.decorating import cached as cached
from llmcache.views.decorating import cached_completion as cached_completion

__all__ = ["cached", "cached_completion"]
