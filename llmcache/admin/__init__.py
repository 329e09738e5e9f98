"""The pages over the cache in Django's admin.

For pages of your own, subclass and register again:

    from llmcache.admin import EntryAdmin

    admin.site.unregister(Entry)

    @admin.register(Entry)
    class OurEntryAdmin(EntryAdmin): ...
"""

from __future__ import annotations

from django.contrib import admin

from llmcache.admin.calls import CallAdmin, EvictionAdmin
from llmcache.admin.dashboard import DashboardAdmin
from llmcache.admin.entries import EntryAdmin
from llmcache.admin.similar_pairs import MatchedPairAdmin
from llmcache.admin.tools import ToolsAdmin, register
from llmcache.admin.virtual_keys import VirtualKeyAdmin

__all__ = [
    "CallAdmin",
    "DashboardAdmin",
    "EntryAdmin",
    "EvictionAdmin",
    "MatchedPairAdmin",
    "ToolsAdmin",
    "VirtualKeyAdmin",
    "register",
]

register(admin.site)
