"""The soak's provider, a process of its own: it answers by the question, fails by the model, and
writes down what it was asked.

It says its address on its standard output and ends when its standard input does. Its models: "chat"
and "stale" answer, "flaky" answers at the second try, "moody" fails in every other five seconds,
"refused" and "broken" always fail, "cut" breaks its streams off.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from pathlib import Path

import orjson

from tests.servers import provider
from tests.servers.provider import Behaviour, Handler, Recorded, answer, delta, events, refusal
from tests.soak import questions

_THINKS = 0.05  # seconds until an answer
_PAUSE = 0.015  # seconds between two pieces of a stream


class AnsweringProvider(provider.Provider):
    """Answers that depend on the question, and a journal of requests.

    Args:
        journal: a line for each request: the question's name, its model and the status.
    """

    def __init__(self, journal: Path) -> None:
        super().__init__()
        self._one = threading.Lock()
        self._journal = journal.open("ab", buffering=0)
        self._asked: Counter[tuple[str, str, str]] = Counter()

    def next_behaviour(self, recorded: Recorded) -> Behaviour:
        asked = recorded.json
        model, tenant = asked["model"], asked["metadata"]["tenant"]
        embeds = recorded.path.endswith("/embeddings")
        text = " ".join(asked["input"]) if embeds else asked["messages"][-1]["content"]
        with self._one:
            edition = self._asked[tenant, model, text]
            self._asked[tenant, model, text] += 1
            status = self._status(model, edition)
            line = {"name": asked["metadata"]["name"], "model": model, "status": status}
            self._journal.write(orjson.dumps(line) + b"\n")
        if status != 200:
            return refusal(status)
        if embeds:
            return _after(_THINKS, _embeddings(model, tenant, asked["input"]))
        said = questions.answer(tenant, model, text, edition, time.time())
        if asked.get("stream"):
            pieces = [delta(said[start : start + 16]) for start in range(0, len(said), 16)]
            if model == "cut":
                return provider.stream(events(*pieces[:3], done=False), pause=_PAUSE, end="broken")
            return provider.stream(events(*pieces, delta(finish_reason="stop")), pause=_PAUSE)
        choice = {**provider.CHAT["choices"][0], "message": {"role": "assistant", "content": said}}
        return _after(_THINKS, {**provider.CHAT, "choices": [choice]})

    def _status(self, model: str, edition: int) -> int:
        if model == "flaky":
            return 200 if edition else 503
        if model == "moody":
            return 500 if time.time() % 10 < 5 else 200
        return questions.FAILING.get(model, 200)


def _embeddings(model: str, tenant: str, texts: list[str]) -> object:
    found = [
        {"object": "embedding", "index": index, "embedding": questions.vector(tenant, text)}
        for index, text in enumerate(texts)
    ]
    usage = {"prompt_tokens": len(texts), "total_tokens": len(texts)}
    return {"object": "list", "data": found, "model": model, "usage": usage}


def _after(seconds: float, body: object) -> Behaviour:
    behave = answer(body)

    def late(handler: Handler) -> None:
        time.sleep(seconds)
        behave(handler)

    return late


if __name__ == "__main__":
    with provider.running(AnsweringProvider(Path(sys.argv[1]))) as made:
        print(made.base_url, flush=True)
        sys.stdin.read()
