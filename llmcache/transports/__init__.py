"""The third door: a transport between an SDK's HTTP client and the network, which caches.

One implementation for httpx and for httpx2, which `llmcache.httpx` and `llmcache.httpx2` bind to
their library; here the library is a value, and its objects have no types.
"""
