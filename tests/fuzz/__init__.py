"""Targets for atheris, which looks for bytes that break a promise. `make fuzz` runs them all."""
