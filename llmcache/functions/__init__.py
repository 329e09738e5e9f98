"""Functions whose results are cached: what keys them, and which results survive a store."""
