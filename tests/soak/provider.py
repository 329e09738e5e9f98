"""The soak's provider, a process of its own: it answers by the question, fails by the model, and
counts.

It says its address on its standard output and ends when its standard input does.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter

from tests.servers import provider
from tests.servers.provider import Behaviour, Handler, Recorded, answer, delta, events, refusal
from tests.soak.questions import answer_to, vector_of

BURST = "burst"
"""The first word of prompts whose upstream calls are counted one by one, and which take longer."""


class CountingProvider(provider.Provider):
    """Answers that depend on nothing but the question, after a while that does too."""

    def __init__(self) -> None:
        super().__init__()
        self._counting = threading.Lock()
        self._answered: Counter[str] = Counter()  # by model
        self._refused: Counter[str] = Counter()
        self._bursts: Counter[str] = Counter()  # by prompt
        self._seen: set[str] = set()

    def next_behaviour(self, recorded: Recorded) -> Behaviour:
        if recorded.path.endswith("/tally"):
            with self._counting:
                return answer(
                    {
                        "answered": dict(self._answered),
                        "refused": dict(self._refused),
                        "bursts": dict(self._bursts),
                    }
                )
        asked = recorded.json
        model, tenant = asked["model"], asked["metadata"]["tenant"]
        if recorded.path.endswith("/embeddings"):
            return self._embed(model, tenant, asked["input"])
        text = asked["messages"][-1]["content"]
        status = self._status(model, text)
        if status != 200:
            return refusal(status)
        said = answer_to(tenant, model, text)
        if asked.get("stream"):
            pieces = [said[start : start + 16] for start in range(0, len(said), 16)]
            chunks = [*map(delta, pieces), delta(finish_reason="stop")]
            return provider.stream(events(*chunks), pause=0.06 if _is_burst(text) else 0.015)
        choice = {**provider.CHAT["choices"][0], "message": {"role": "assistant", "content": said}}
        return _after(0.3 if _is_burst(text) else 0.05, {**provider.CHAT, "choices": [choice]})

    def _status(self, model: str, text: str) -> int:
        with self._counting:
            status = {"refused": 400, "broken": 500}.get(model, 200)
            if model == "flaky" and text not in self._seen:
                self._seen.add(text)
                status = 503
            (self._answered if status == 200 else self._refused)[model] += 1
            if _is_burst(text):
                self._bursts[text] += 1
        return status

    def _embed(self, model: str, tenant: str, texts: list[str]) -> Behaviour:
        with self._counting:
            self._answered[model] += 1
        found = [
            {"object": "embedding", "index": index, "embedding": vector_of(tenant, text)}
            for index, text in enumerate(texts)
        ]
        usage = {"prompt_tokens": len(texts), "total_tokens": len(texts)}
        return _after(0.03, {"object": "list", "data": found, "model": model, "usage": usage})


def _is_burst(text: str) -> bool:
    return text.startswith(BURST)


def _after(seconds: float, body: object) -> Behaviour:
    behave = answer(body)

    def late(handler: Handler) -> None:
        time.sleep(seconds)
        behave(handler)

    return late


if __name__ == "__main__":
    with provider.running(CountingProvider()) as made:
        print(made.base_url, flush=True)
        sys.stdin.read()
