"""What every exact store must do, over the real thing, through its sync and its async methods."""

from __future__ import annotations

from llmcache.testing.store_contract import StoreContract


class TestEveryStore(StoreContract):
    """`make` is that of this directory: each store in turn."""
