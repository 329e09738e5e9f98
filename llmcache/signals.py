"""Django signals. Receivers run in the caller's thread or task and cannot break the call."""

from __future__ import annotations

from django.dispatch import Signal

call_finished = Signal()
"""Sent when a call has ended well. Arguments: `call` (Call) and `cache` (CacheInfo)."""

call_failed = Signal()
"""Sent when a call has ended in an error. Arguments: `call` (Call), `error` (the exception),
`seconds` (how long it took) and `alias` (of the store; "" for none).
"""

entry_stored = Signal()
"""Sent when an entry was handed to its store. Arguments: `alias`, `digest`, `ttl` (seconds or
None), `size` (bytes) and `header` (what the entry notes about itself).
"""
