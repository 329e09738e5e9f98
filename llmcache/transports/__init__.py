"""The third door: transports that stand between a provider's SDK and its HTTP client.

Nothing here imports httpx or httpx2: `llmcache.httpx` and `llmcache.httpx2` bring each its own.
"""
