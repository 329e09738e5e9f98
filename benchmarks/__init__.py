"""Measurements: how far each path is from its floor, and how far the peers are, in one run."""
