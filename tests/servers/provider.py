"""A scripted model provider on a loopback port: it answers, stalls, breaks off and remembers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson
import pytest

CHAT: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1700000000,
    "model": "m",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hello!"},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}


@dataclass(frozen=True)
class Recorded:
    """One request as it arrived."""

    path: str
    query: dict[str, list[str]]
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


class Provider:
    """The provider's script and memory.

    Attributes:
        requests: what arrived, in order.
        connections: how many connections were opened.
        disconnected: set when a client goes away in the middle of a stream.
    """

    def __init__(self) -> None:
        self.requests: list[Recorded] = []
        self.connections = 0
        self.disconnected = threading.Event()
        self.stopping = threading.Event()
        self.base_url = ""
        self._script: list[Behaviour] = []
        self._lock = threading.Lock()

    def script(self, *behaviours: Behaviour) -> None:
        """What the next requests meet, one each; the last one stays for all that follow."""
        self._script = list(behaviours)

    def next_behaviour(self, recorded: Recorded) -> Behaviour:
        with self._lock:
            self.requests.append(recorded)
            return self._script.pop(0) if len(self._script) > 1 else self._script[0]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else every answer waits 40 ms for an acknowledgement
    provider: Provider

    def setup(self) -> None:
        super().setup()
        self.provider.connections += 1

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = urlsplit(self.path)
        headers = {name.lower(): ", ".join(self.headers.get_all(name, [])) for name in self.headers}
        recorded = Recorded(parts.path, parse_qs(parts.query), headers, body)
        self.provider.next_behaviour(recorded)(self)

    def begin(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def break_off(self) -> None:
        self.close_connection = True

    def log_message(self, *args: object) -> None:
        pass


Behaviour = Callable[[Handler], None]


def answer(
    body: object = CHAT,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    content_type: str = "application/json",
) -> Behaviour:
    """A whole answer; a body that is not bytes is sent as JSON."""
    content = body if isinstance(body, bytes) else orjson.dumps(body)

    def behave(handler: Handler) -> None:
        length = {"Content-Type": content_type, "Content-Length": str(len(content))}
        handler.begin(status, {**length, **(headers or {})})
        handler.wfile.write(content)

    return behave


def refusal(status: int, headers: Mapping[str, str] | None = None) -> Behaviour:
    """An error in OpenAI's format that asks for only a short wait, so that tests are quick."""
    body = {"error": {"message": f"refused with {status}", "type": "test"}}
    return answer(body, status, {"retry-after-ms": "1", "x-request-id": "req_1", **(headers or {})})


def hang(handler: Handler) -> None:
    """No answer until the server stops."""
    handler.provider.stopping.wait(30)
    handler.break_off()


def drop(handler: Handler) -> None:
    """The connection is closed without a word."""
    handler.break_off()


def truncated(handler: Handler) -> None:
    """Half of the answer that was announced."""
    content = orjson.dumps(CHAT)
    handler.begin(200, {"Content-Type": "application/json", "Content-Length": str(len(content))})
    handler.wfile.write(content[: len(content) // 2])
    handler.break_off()


def stream(
    pieces: Iterable[bytes], *, pause: float = 0.0, end: str = "clean", status: int = 200
) -> Behaviour:
    """Server-sent events in exactly these pieces.

    Args:
        pause: seconds between the pieces.
        end: "clean", "broken" (the connection is cut) or "open" (it stays, and nothing comes).
    """

    def behave(handler: Handler) -> None:
        headers = {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"}
        handler.begin(status, headers)
        try:
            for piece in pieces:
                handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                handler.wfile.flush()
                handler.provider.stopping.wait(pause)
            if end == "clean":
                handler.wfile.write(b"0\r\n\r\n")
            elif end == "open":
                hang(handler)
            else:
                handler.break_off()
        except OSError:
            handler.provider.disconnected.set()
            handler.break_off()

    return behave


def events(*datas: object, done: bool = True) -> list[bytes]:
    """Events with these data as JSON, one a piece, and the end marker."""
    found = [b"data: %s\n\n" % orjson.dumps(data) for data in datas]
    return [*found, b"data: [DONE]\n\n"] if done else found


def delta(content: str = "", finish_reason: str | None = None, index: int = 0) -> dict[str, Any]:
    """A chunk of a chat stream."""
    change = {"content": content} if content else {}
    choice = {"index": index, "delta": change, "finish_reason": finish_reason}
    common = {name: CHAT[name] for name in ("id", "created", "model")}
    return {**common, "object": "chat.completion.chunk", "choices": [choice]}


class _Server(ThreadingHTTPServer):
    request_queue_size = 256  # with five, some of a hundred clients at once would wait a second
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that go away are part of the tests."""


@contextmanager
def running(made: Provider | None = None) -> Iterator[Provider]:
    """A provider that listens, until the block ends.

    Args:
        made: one of another kind.
    """
    made = made or Provider()
    made.script(answer())
    server = _Server(("127.0.0.1", 0), type("BoundHandler", (Handler,), {"provider": made}))
    made.base_url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield made
    finally:
        made.stopping.set()
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def provider() -> Iterator[Provider]:
    """A scripted provider of the test's own."""
    with running() as made:
        yield made


def encode(data: bytes, type: str = "") -> bytes:
    """One event as it travels; data of several lines is spread over as many fields."""
    head = f"event: {type}\n".encode() if type else b""
    return head + b"".join(b"data: %s\n" % line for line in data.splitlines()) + b"\n"
