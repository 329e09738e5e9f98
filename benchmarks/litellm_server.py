"""LiteLLM's side, run by LiteLLM's own Python: reads jobs from standard input, a line of JSON each,
and answers each with the seconds that one call took. It has a provider that needs no network.

A job: {"cache": {Cache's arguments}, "asked": {completion's arguments}, "times": calls}
"""

from __future__ import annotations

import json
import sys
from time import perf_counter


def main() -> None:
    answers, sys.stdout = sys.stdout, sys.stderr  # LiteLLM prints
    import litellm
    from litellm.caching.caching import Cache

    litellm.suppress_debug_info = True
    current = None
    for line in sys.stdin:
        job = json.loads(line)
        if job["cache"] != current:
            current = job["cache"]
            litellm.cache = Cache(**current)
        asked = {**job["asked"], "mock_response": job["answer"], "caching": True}
        first = litellm.completion(**asked)
        second = litellm.completion(**asked)
        started = perf_counter()
        for _ in range(job["times"]):
            text = litellm.completion(**asked).choices[0].message.content
        seconds = (perf_counter() - started) / job["times"]
        hit = first.id == second.id and text == job["answer"]
        answers.write(json.dumps({"seconds": seconds, "hit": hit}) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
