"""One page for each of the other doors to the cache."""
