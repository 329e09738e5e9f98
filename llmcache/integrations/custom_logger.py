"""`from llmcache.integrations.custom_logger import CustomLogger`, as LiteLLM's page has it."""

from __future__ import annotations

from llmcache.events import CustomLogger

__all__ = ["CustomLogger"]
