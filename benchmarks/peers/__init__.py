"""The other caches, each run by a Python of its own, and what their scripts share."""
