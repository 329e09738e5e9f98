"""The fourth door: an HTTP API like the providers' own, behind `include("llmcache.urls")`."""
