"""`@cached_completion`."""
