"""Views whose answers are cached: what keys them, whose they are, and what may be stored."""
