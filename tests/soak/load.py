"""Clients of the site under soak: each asks, looks whether the answer is right, and notes how it
went."""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import orjson

from tests.soak import questions
from tests.soak.parts import Parts
from tests.soak.questions import Question, Said

PATIENCE: Final = 45.0  # seconds that a client waits for the next byte
EVICTED_WITHIN: Final = 60.0  # seconds until an evicted answer is served to nobody any more
_THINKS: Final = 0.08  # seconds between two questions of a client, on average
ANSWERED: Final = "answered"
FAILED: Final = "failed"
LEFT: Final = "left"
CUT: Final = "cut"


@dataclass(frozen=True, slots=True)
class Asked:
    """One request and what came of it.

    Attributes:
        began, took: unix seconds, and seconds.
        end: ANSWERED, FAILED (with an error that the site told), LEFT (the client went away) or CUT
            (the connection ended without an answer).
        outcome: what the site says of the cache; "" for nothing.
        wrong: what is wrong with the answer; "" for nothing.
        said: the error's text.
        edition: of the answer.
    """

    question: Question
    began: float
    took: float
    end: str
    outcome: str = ""
    wrong: str = ""
    said: str = ""
    edition: int = -1


class Client:
    """Asks one question at a time, each over a connection of its own."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def ask(self, question: Question) -> Asked:
        """One request; again, if its connection is cut, by the caller."""
        began = time.time()
        found: dict[str, Any]
        try:
            found = self._tried(question, began)
        except (OSError, http.client.HTTPException) as error:
            found = {"end": CUT, "said": repr(error)}
        return Asked(question, began, time.time() - began, **found)

    def _tried(self, question: Question, began: float) -> dict[str, Any]:
        connection = self._opened(question.asynchronous)
        try:
            response = self._sent(connection, question)
            outcome = response.headers.get("X-LLMCache-Outcome", "")
            if response.status != 200:
                text = response.read().decode(errors="replace")
                return {"end": FAILED, "said": f"{response.status} {text[:500]}"}
            if question.stream:
                found = _read_stream(response, question, began)
            else:
                found = _judged(question, _content(question, response.read()), began)
            return {**found, "outcome": outcome}
        finally:
            connection.close()

    def staff(self, order: Any) -> tuple[int, dict[str, Any]]:
        """Have the site's staff do something; the status and what they say, 0 for no answer."""
        connection = self._opened(False)
        try:
            connection.request("POST", "/staff", orjson.dumps(order))
            response = connection.getresponse()
            text = response.read()
            return response.status, orjson.loads(text) if text.startswith(b"{") else {}
        except (OSError, http.client.HTTPException):
            return 0, {}
        finally:
            connection.close()

    def inside(self, asynchronous: bool, token: str = "") -> dict[str, Any]:
        """What one process of the site holds.

        Args:
            token: of a virtual key that it is to know from then on.
        """
        connection = self._opened(asynchronous)
        try:
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            connection.request("GET", "/inside", headers=headers)
            said: dict[str, Any] = orjson.loads(connection.getresponse().read())
            return said
        finally:
            connection.close()

    def _opened(self, asynchronous: bool) -> http.client.HTTPConnection:
        port = self._parts.asgi_port if asynchronous else self._parts.wsgi_port
        return http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)

    def _sent(
        self, connection: http.client.HTTPConnection, question: Question
    ) -> http.client.HTTPResponse:
        headers = {"Content-Type": "application/json", "Connection": "close"}
        twin = "a" if question.asynchronous else ""
        if question.door == "page":
            headers |= {"X-Tenant": question.tenant, "X-Name": question.name}
            connection.request("GET", f"/page?text={quote(question.texts[0])}", headers=headers)
            return connection.getresponse()
        body: dict[str, Any] = {
            "model": question.model,
            "metadata": {"tenant": question.tenant, "name": question.name},
        }
        if question.door == "embed":
            path, body = f"/{twin}embed", {**body, "input": question.texts, "cache": {}}
        else:
            messages = [{"role": "user", "content": question.texts[0]}]
            body |= {"messages": messages, "stream": question.stream}
            if question.door == "endpoint":
                path = "/llm/v1/chat/completions"
                headers["Authorization"] = f"Bearer {self._parts.tokens[question.tenant]}"
            else:
                path, body = f"/{twin}ask", {**body, "cache": question.cache}
        connection.request("POST", path, orjson.dumps(body), headers)
        return connection.getresponse()


# --- reading answers ---


def _content(question: Question, body: bytes) -> Any:
    """What was answered: a text, or a list of vectors."""
    try:
        parsed = orjson.loads(body)
        if question.door != "embed":
            return parsed["choices"][0]["message"]["content"]
        data = sorted(parsed["data"], key=lambda part: part["index"])
        return [part["embedding"] for part in data]
    except (ValueError, LookupError, TypeError):
        return body.decode(errors="replace")


def _events(response: http.client.HTTPResponse) -> Iterator[Any]:
    while line := response.readline():
        if line.startswith(b"data: "):
            data = line.removeprefix(b"data: ").strip()
            yield None if data == b"[DONE]" else orjson.loads(data)


def _read_stream(
    response: http.client.HTTPResponse, question: Question, began: float
) -> dict[str, Any]:
    text, done = "", False
    for event in _events(response):
        if question.leaves:
            return {"end": LEFT}
        if event is None:
            done = True
        elif "error" in event:
            return {"end": FAILED, "said": f"in the stream: {event['error']}"}
        else:
            text += event["choices"][0]["delta"].get("content") or ""
    if not done:
        raise http.client.IncompleteRead(text.encode())
    return _judged(question, text, began)


def _judged(question: Question, content: Any, began: float) -> dict[str, Any]:
    """Whether the answer is right for its question, and not too old for what was asked for."""
    if question.door == "embed":
        vectors = [questions.vector(question.tenant, text) for text in question.texts]
        return {"end": ANSWERED, "wrong": "" if content == vectors else f"{content!r:.300}"}
    said: Said | None = questions.read_answer(content) if isinstance(content, str) else None
    right = questions.right_answer(question.tenant, question.model, question.texts[0])
    if said is None or said.right != right:
        return {"end": ANSWERED, "wrong": f"{content!r:.300}"}
    wrong = ""
    if question.model in ("stale", "moody") and began - said.made > questions.LONGEST_LIFE + 3:
        wrong = f"made {began - said.made:.1f} s before it was asked for"
    return {"end": ANSWERED, "wrong": wrong, "edition": said.edition}


# --- clients at work ---


class Load:
    """Clients in threads, who ask until they are told to stop.

    Attributes:
        asked: all that was asked so far.
        evictions: seconds until nobody got the evicted answer any more, of each that was tried.
        staff: how often staff's orders ended in which status.
        broken: what went wrong with the clients themselves.
    """

    def __init__(self, parts: Parts, clients: int, seed: int) -> None:
        self.asked: list[Asked] = []
        self.evictions: list[float] = []
        self.staff: list[tuple[float, int, dict[str, Any]]] = []
        self.broken: list[str] = []
        self._client = Client(parts)
        self._stopping = threading.Event()
        works = [self._ask_anything] * clients + [self._evict, self._keep_house]
        self._threads = [
            threading.Thread(target=self._run, args=(work, random.Random(seed + number)))
            for number, work in enumerate(works)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Wait until each has its last answer."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _run(self, work: Any, chance: random.Random) -> None:
        try:
            work(chance)
        except Exception as error:
            self.broken.append(f"{type(error).__name__}: {error}")

    def ask(self, question: Question) -> Asked:
        """Ask, and ask anew under another name as often as the connection is cut."""
        while True:
            asked = self._client.ask(question)
            self.asked.append(asked)
            if asked.end != CUT or self._stopping.is_set():
                return asked
            time.sleep(0.1)
            question = questions.again(question)

    def _ask_anything(self, chance: random.Random) -> None:
        while not self._stopping.wait(chance.expovariate(1 / _THINKS)):
            self.ask(questions.any_question(chance))

    def _done(self, order: Any) -> bool:
        """Whether staff could do all that they were told to."""
        began = time.time()
        status, said = self._client.staff(order)
        self.staff.append((began, status, said))
        return status == 200 and not said.get("failed")

    def _evict(self, chance: random.Random) -> None:
        """Evict answers that nobody else asks for, and see that they are not served any more."""
        while not self._stopping.wait(0.5):
            tenant, number = chance.choice(questions.TENANTS), chance.randrange(7)
            tag = f"notice:{number}"
            question = Question("ask", "chat", tenant, (f"notice {number}",), {"tags": [tag]})
            before = self.ask(question)
            while not self._done({"tag": tag}):
                if self._stopping.wait(0.5):
                    return
            evicted = time.monotonic()
            while self.ask(questions.again(question)).edition <= before.edition:
                if time.monotonic() - evicted > EVICTED_WITHIN:
                    break
                time.sleep(0.2)
            self.evictions.append(time.monotonic() - evicted)

    def _keep_house(self, chance: random.Random) -> None:
        while not self._stopping.wait(7):
            tenant = chance.choice(questions.TENANTS)
            self._done(chance.choice(({"scope": tenant}, {"model": "vectors"}, "clear", "sweep")))
