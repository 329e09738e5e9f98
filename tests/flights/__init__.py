"""Identical calls at one time, in threads, tasks and processes."""
