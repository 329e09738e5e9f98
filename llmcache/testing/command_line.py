"""What pytest's command line says, for every cassette of the run; imports nothing."""

from __future__ import annotations

mode: str | None = None
strict = False
