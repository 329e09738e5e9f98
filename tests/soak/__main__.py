"""`python -m tests.soak`: SOAK_MINUTES of load while parts are killed, 10 by default; exits with 1
if anything went wrong."""

from __future__ import annotations

import os
import random
import sys

from tests.soak.report import report
from tests.soak.running import run

if __name__ == "__main__":
    minutes = float(os.environ.get("SOAK_MINUTES", "10"))
    seed = int(os.environ.get("SOAK_SEED", random.randrange(2**31)))
    print(f"{minutes:g} minutes; SOAK_SEED={seed}", flush=True)
    result = run(minutes * 60, seed=seed, say=lambda text: print(text, flush=True))
    print(f"\n{report(result)}")
    sys.exit(1 if result.problems else 0)
