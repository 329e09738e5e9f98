"""Real parts that are broken on purpose, and what callers see of it."""
