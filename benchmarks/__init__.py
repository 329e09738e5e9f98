"""Measurements: how far each path is from its floor, and how far LiteLLM is, in one run."""
