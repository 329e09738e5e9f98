"""How commands find their nodes in a Redis Cluster: what is sent where, and what is made of the
replies. Nothing here sends anything, so that threads and event loops do the same.

redis-py's own client for clusters is not used: where a node hangs, its pipelines wait for each key
of that node anew. Here a node that hangs costs a call one time limit, and one that keeps failing is
left alone while the others work on.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Generator, Iterator, Mapping, Sequence
from time import monotonic
from typing import Any, Final, NamedTuple, TypeVar

import redis
from redis.exceptions import AskError, ClusterDownError, MovedError

from llmcache.backends.redis_slots import Node, SlotMap
from llmcache.breaker import Breaker

logger = logging.getLogger("llmcache")

T = TypeVar("T")
Words = tuple[Any, ...]
Sent = Mapping[Node, Sequence[Words]]
"""What to send to each node, in one round trip."""
Answer = list[Any] | Exception
"""A node's replies, error replies among them as exceptions; or why there are none."""
Answers = Mapping[Node, Answer]
Steps = Generator[Sent, Answers, T]

_SLOTS: Final[Words] = ("CLUSTER", "SLOTS")
_ASKING: Final[Words] = ("ASKING",)
_ROUNDS: Final = 6
"""So often a command is sent at most."""
_TROUBLED: Final = 0.5
"""Seconds between two looks at the map while something is wrong."""
_SETTLED: Final = 60.0
"""The same while nothing is, to find nodes that are new."""
_TIMEOUTS: Final = (redis.TimeoutError, TimeoutError)
_OF_CLUSTERS: Final = {"MOVED": MovedError, "ASK": AskError, "CLUSTERDOWN": ClusterDownError}
# They say nothing about the node.
_OURS: Final = (
    redis.AuthenticationError,
    getattr(redis.exceptions, "MaxConnectionsError", redis.AuthenticationError),
)


class Command(NamedTuple):
    """One command about a key in a slot."""

    slot: int
    words: Words


class NodeResting(redis.RedisError):
    """A node failed so often that it is left alone for a while."""


class Router:
    """What one process knows of one cluster. Threads and event loops share it without a lock: of
    two that change it at once the later one is right enough, as replies put it right again.

    Args:
        alias: of the store, for the log.
        start: nodes to ask for the map first.
    """

    def __init__(self, alias: str, start: Sequence[Node]) -> None:
        self._alias = alias
        self._start = tuple(start)
        self._map: SlotMap | None = None
        self._failing: dict[tuple[str, int], Breaker] = {}
        self._looked = self._due = 0.0

    def knows(self, node: Node) -> bool:
        """Whether a node is one of the cluster's, or may be."""
        known = set() if self._map is None else self._map.addresses()
        return node.address in known or node in self._start

    # --- steps ---

    def primaries(self) -> Steps[list[Node]]:
        """All nodes that have keys of their own."""
        return (yield from self._known()).primaries()

    def route(self, commands: Sequence[Command], *, reading: bool = False) -> Steps[list[Any]]:
        """Send commands to whoever has their keys, in one round trip a node; and those once more
        whose keys turn out to be elsewhere.

        Args:
            reading: whether replicas will do.

        Returns:
            The replies in order; where there is none, the error.
        """
        trip = _Trip(self, commands, reading)
        for _ in range(_ROUNDS):
            if not trip.waiting:
                break
            yield from self._known()
            if not (sent := trip.leave()):
                break
            trip.arrive((yield sent))
        return trip.replies

    def _known(self) -> Steps[SlotMap]:
        """The map, looked at anew if it is time."""
        found = self._map
        if found is None or monotonic() >= self._due:
            found = yield from self._look()
        return found

    def _look(self) -> Steps[SlotMap]:
        self._looked = monotonic()
        self._due = self._looked + _TROUBLED  # so that no other call looks at the same time
        problem: Exception = redis.RedisError("no node of the cluster has been named")
        for node in self._sources():
            answer = (yield {node: [_SLOTS]})[node]
            if isinstance(answer, Exception):
                problem = answer
                self.failed(node, answer)
                if isinstance(answer, _TIMEOUTS):
                    break  # the caller has waited enough; the next one begins with another node
            elif isinstance(answer[0], Exception):
                problem = answer[0]
            elif found := SlotMap.read(answer[0], node):
                return self._take(found)
        if self._map is None:
            raise problem
        return self._map

    # --- what it makes of that ---

    def _sources(self) -> list[Node]:
        """Whom to ask for the map, those last that have failed of late."""
        known = [] if self._map is None else self._map.primaries()
        random.shuffle(known)
        both = dict.fromkeys([*known, *self._start])
        return sorted(both, key=lambda node: node.address in self._failing)

    def _take(self, found: SlotMap) -> SlotMap:
        self._map = found
        left = found.addresses()
        for address in list(self._failing):
            if address not in left:
                self._failing.pop(address, None)
        if not self._failing:
            self._due = self._looked + _SETTLED
        return found

    def target(self, slot: int, reading: bool) -> Node | Exception:
        """Whom to ask about a slot, or why nobody."""
        shard = None if self._map is None else self._map.shard(slot)
        if shard is None:
            self.look_soon()
            return redis.RedisError(f"no node of the cluster serves slot {slot}")
        failing = self._failing
        if reading and len(shard) > 1:
            fit = [node for node in shard[1:] if node.address not in failing]
            if fit:
                return random.choice(fit)  # noqa: S311 - spreads load, guards nothing
        node = shard[0]
        if failing and (breaker := failing.get(node.address)) and not breaker.allows():
            return NodeResting(f"{node.host}:{node.port} failed too often and is left alone")
        return node

    def answered(self, node: Node) -> None:
        """A node works."""
        if self._failing:
            self._failing.pop(node.address, None)

    def failed(self, node: Node, error: Exception) -> bool:
        """A node did not answer; whether to see if another one has its slots by now."""
        if isinstance(error, _OURS):
            return False
        breaker = self._failing.setdefault(node.address, Breaker())
        rested = breaker.is_open
        breaker.failed()
        if breaker.is_open and not rested:
            logger.warning(
                "Alias %r leaves %s:%d alone for a while, as it failed too often: %s: %s",
                *(self._alias, node.host, node.port, type(error).__name__, error),
            )
        self.look_soon()
        return not isinstance(error, _TIMEOUTS)

    def moved(self, slot: int, node: Node) -> None:
        """A slot is another node's by now."""
        if self._map is not None:
            self._map = self._map.with_moved(slot, node)
        self.look_soon()

    def look_soon(self) -> None:
        """Something is wrong with the map."""
        self._due = min(self._due, self._looked + _TROUBLED)


class _Trip:
    """One call's commands on their way, until each has its reply.

    Attributes:
        replies: in the commands' order.
        waiting: numbers of the commands that have none yet.
    """

    def __init__(self, router: Router, commands: Sequence[Command], reading: bool) -> None:
        self._router = router
        self._commands = commands
        self._reading = reading
        self.replies: list[Any] = [None] * len(commands)
        self.waiting: Sequence[int] = range(len(commands))
        # By the command's number: whom to ask for a slot that moves just now, and who has failed.
        self._asking: dict[int, Node] = {}
        self._failed: dict[int, Node] = {}
        self._places: dict[Node, list[int]] = {}

    def leave(self) -> Sent:
        """What to send now; nothing when all is done."""
        self._places = {}
        for number in self.waiting:
            node = self._asking.get(number) or self._router.target(
                self._commands[number].slot, self._reading
            )
            if isinstance(node, Exception):
                if number not in self._failed:
                    self.replies[number] = node
            elif node != self._failed.get(number):  # else its error is the reply
                self._places.setdefault(node, []).append(number)
        return {
            node: [words for number in numbers for words in self._words(number)]
            for node, numbers in self._places.items()
        }

    def _words(self, number: int) -> Iterator[Words]:
        if number in self._asking:
            yield _ASKING
        yield self._commands[number].words

    def arrive(self, answers: Answers) -> None:
        """Take the replies, and note what must be sent elsewhere."""
        asked, self._asking = self._asking, {}
        waiting: list[int] = []
        for node, numbers in self._places.items():
            answer = answers[node]
            if isinstance(answer, Exception):
                again = self._router.failed(node, answer)
                for number in numbers:
                    self.replies[number] = answer
                    self._failed[number] = node
                waiting += numbers if again else ()
                continue
            self._router.answered(node)
            rest = iter(answer)
            for number in numbers:
                if number in asked:
                    next(rest)
                self.replies[number] = reply = _understood(next(rest))
                if isinstance(reply, AskError):
                    self._redirect(number, node, reply)
                    waiting.append(number)
                elif isinstance(reply, ClusterDownError):
                    self._router.look_soon()
        self.waiting = waiting

    def _redirect(self, number: int, node: Node, reply: AskError) -> None:
        elsewhere = Node(reply.host or node.host, reply.port)
        if isinstance(reply, MovedError):
            self._router.moved(self._commands[number].slot, elsewhere)
        else:
            self._asking[number] = elsewhere


def _understood(reply: Any) -> Any:
    """A reply in which redis-py before 6 has not seen what only clusters say."""
    if type(reply) is redis.ResponseError:
        word, _, rest = str(reply).partition(" ")
        if word in _OF_CLUSTERS:
            return _OF_CLUSTERS[word](rest)
    return reply
