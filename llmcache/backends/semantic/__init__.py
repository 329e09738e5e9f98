"""Stores that also answer prompts that mean the same as one they know."""
