"""Where commands go in a Redis Cluster, told by replies that are written down here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import redis
from redis.exceptions import AskError, ClusterDownError, MovedError

from llmcache.backends import redis_routing
from llmcache.backends.redis_routing import Command, NodeResting, NotAsked, Router
from llmcache.backends.redis_slots import Node, NodeUrls, SlotMap, slot_of

ONE, TWO, THREE = (Node("h", port) for port in (1, 2, 3))
SLOTS = ("CLUSTER", "SLOTS")
HALVES = [[0, 8191, [b"h", 1]], [8192, 16383, [b"h", 2], [b"h", 3]]]
LOW, HIGH = Command(7, ("GET", "low")), Command(9000, ("GET", "high"))

Said = Mapping[tuple[Node, Any], Any]


def ran(router: Router, said: list[tuple[Any, Any]], *commands: Command, **options: Any) -> Any:
    """What a route returns, when exactly this is sent and answered, in this order."""
    steps = router.route(commands, **options)
    answers, left = None, list(said)
    try:
        while True:
            sent = {node: list(words) for node, words in steps.send(answers).items()}
            assert left, f"{sent} was sent besides"
            expected, answers = left.pop(0)
            assert sent == expected
    except StopIteration as done:
        assert left == []
        return done.value


def looked(node: Node, reply: Any = HALVES) -> tuple[Any, Any]:
    return {node: [SLOTS]}, {node: [reply] if isinstance(reply, list) else reply}


def asked(node: Node, *words: Any, reply: Any) -> tuple[Any, Any]:
    return {node: list(words)}, {node: reply if isinstance(reply, list) else [reply]}


GET = ("GET", "low")


@pytest.fixture
def router() -> Router:
    """One that has looked at the map."""
    made = Router("a", [ONE])
    assert ran(made, [looked(ONE), asked(ONE, GET, reply=b"1")], LOW) == [b"1"]
    return made


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    now = redis_routing.monotonic()
    monkeypatch.setattr(redis_routing, "monotonic", lambda: now + seconds)


def test_commands_go_to_their_nodes_at_once_and_replies_come_in_order(router: Router) -> None:
    sent = {TWO: [("GET", "high"), ("GET", "high")], ONE: [GET]}
    answers = {TWO: [b"2", b"3"], ONE: [b"1"]}
    assert ran(router, [(sent, answers)], HIGH, LOW, HIGH) == [b"2", b"1", b"3"]


@pytest.mark.parametrize("error", [MovedError("7 h:2"), redis.ResponseError("MOVED 7 h:2")])
def test_a_slot_that_has_moved_is_asked_for_there_from_then_on(
    router: Router, error: Exception
) -> None:
    said = [asked(ONE, GET, reply=error), asked(TWO, GET, reply=b"1")]
    assert ran(router, said, LOW) == [b"1"]
    assert ran(router, [asked(TWO, GET, reply=b"1")], LOW) == [b"1"]


@pytest.mark.parametrize("error", [AskError("7 h:2"), redis.ResponseError("ASK 7 h:2")])
def test_a_slot_on_its_way_is_asked_for_there_this_once(router: Router, error: Exception) -> None:
    said = [asked(ONE, GET, reply=error), asked(TWO, ("ASKING",), GET, reply=[b"OK", b"1"])]
    assert ran(router, said, LOW) == [b"1"]
    assert ran(router, [asked(ONE, GET, reply=b"1")], LOW) == [b"1"]


def test_a_node_that_leaves_out_its_address_is_where_it_was_asked(router: Router) -> None:
    said = [asked(ONE, GET, reply=MovedError("7 :2")), asked(TWO, GET, reply=b"1")]
    assert ran(router, said, LOW) == [b"1"]


def test_an_error_that_is_no_direction_is_the_reply(router: Router) -> None:
    error = redis.ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value")
    assert ran(router, [asked(ONE, GET, reply=error)], LOW) == [error]
    assert ran(router, [asked(ONE, GET, reply=b"1")], LOW) == [b"1"]


def test_nodes_that_send_each_other_are_not_asked_for_ever(router: Router) -> None:
    there, back = (asked(n, GET, reply=MovedError(f"7 h:{3 - n.port}")) for n in (ONE, TWO))
    (reply,) = ran(router, [there, back] * 3, LOW)
    assert isinstance(reply, MovedError)


def test_a_node_that_is_gone_is_looked_for_elsewhere_once(
    router: Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    later(monkeypatch, 1)
    gone = ({ONE: [GET]}, {ONE: redis.ConnectionError("gone")})
    (reply,) = ran(router, [gone, looked(TWO)], LOW)
    assert isinstance(reply, redis.ConnectionError)  # the map says that it is there
    later(monkeypatch, 2)
    taken_over = [[0, 8191, [b"h", 3]], HALVES[1]]
    said = [looked(TWO, taken_over), asked(THREE, GET, reply=b"1")]
    assert ran(router, said, LOW) == [b"1"]
    assert ran(router, [asked(THREE, GET, reply=b"1")], LOW) == [b"1"]


def test_a_node_that_hangs_is_not_waited_for_twice(
    router: Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    later(monkeypatch, 1)
    (reply,) = ran(router, [({ONE: [GET]}, {ONE: redis.TimeoutError("slow")})], LOW)
    assert isinstance(reply, redis.TimeoutError)
    said = [looked(TWO, redis.TimeoutError("slow")), asked(ONE, GET, reply=b"1")]
    assert ran(router, said, LOW) == [b"1"]


@pytest.mark.parametrize(("seconds", "looks"), [(0.1, False), (59, False), (61, True)])
def test_the_map_is_looked_at_again_now_and_then(
    router: Router, monkeypatch: pytest.MonkeyPatch, seconds: float, looks: bool
) -> None:
    router._looked = redis_routing.monotonic()
    router._due = router._looked + 60
    later(monkeypatch, seconds)
    steps = router.route([LOW])
    assert (list(steps.send(None).values()) == [[SLOTS]]) is looks


@pytest.mark.parametrize("kind", [redis.exceptions.MaxConnectionsError, NotAsked])
def test_want_of_connections_or_of_time_is_not_held_against_the_node(
    router: Router, kind: type[Exception]
) -> None:
    for _ in range(20):
        ours = kind("no")
        (reply,) = ran(router, [({ONE: [GET]}, {ONE: ours})], LOW)
        assert reply is ours


@pytest.mark.parametrize(
    "said",
    [
        redis.AuthenticationError("no"),
        redis.TimeoutError("slow"),
        [ClusterDownError("it is down")],
        [redis.ResponseError("CLUSTERDOWN it is down")],
    ],
)
def test_a_node_that_cannot_be_used_is_left_alone_after_some_calls(
    router: Router, settings: Any, said: Any
) -> None:
    settings.LLMCACHE_CONFIG = {"BREAKER_THRESHOLD": 3, "BREAKER_COOLDOWN": 600}
    router._looked = redis_routing.monotonic()
    for _ in range(3):
        (reply,) = ran(router, [({ONE: [GET]}, {ONE: said})], LOW)
        assert isinstance(reply, redis.RedisError)
        assert not isinstance(reply, NodeResting)
    assert isinstance(ran(router, [], LOW)[0], NodeResting)
    assert ran(router, [asked(TWO, ("GET", "high"), reply=b"1")], HIGH) == [b"1"]


def test_a_cluster_of_which_no_node_answers_is_left_alone_after_some_calls(settings: Any) -> None:
    settings.LLMCACHE_CONFIG = {"BREAKER_THRESHOLD": 3, "BREAKER_COOLDOWN": 600}
    router = Router("a", [ONE])
    for _ in range(3):
        with pytest.raises(redis.ConnectionError):
            ran(router, [looked(ONE, redis.ConnectionError("gone"))], LOW)
    assert [type(reply) for reply in ran(router, [], LOW, HIGH)] == [NodeResting] * 2


def test_a_slot_that_nobody_serves_rests_and_that_is_logged_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    router = Router("a", [ONE])
    replies = ran(router, [looked(ONE, HALVES[:1]), asked(ONE, GET, reply=b"1")], HIGH, LOW)
    assert replies[1] == b"1"
    with pytest.raises(NodeResting, match="slot 9000"):
        raise replies[0]
    later(monkeypatch, 1)
    ran(router, [looked(ONE, HALVES[:1])], HIGH)
    assert [one.getMessage() for one in caplog.records] == [
        "Alias 'a': no node of the cluster serves 8192 slots"
    ]


def test_replicas_are_read_from_while_they_work(router: Router) -> None:
    replica, words = THREE._replace(replica=True), ("GET", "high")
    assert ran(router, [asked(replica, words, reply=b"1")], HIGH, reading=True) == [b"1"]
    gone = ({replica: [words]}, {replica: redis.ConnectionError("gone")})
    assert ran(router, [gone, asked(TWO, words, reply=b"1")], HIGH, reading=True) == [b"1"]
    assert ran(router, [asked(TWO, words, reply=b"1")], HIGH, reading=True) == [b"1"]
    assert ran(router, [asked(TWO, words, reply=b"1")], HIGH) == [b"1"]


def test_the_next_call_learns_of_the_cluster_where_the_last_has_not_waited() -> None:
    router = Router("a", [ONE, TWO])
    with pytest.raises(redis.TimeoutError):
        ran(router, [looked(ONE, redis.TimeoutError("slow"))], LOW)
    assert ran(router, [looked(TWO), asked(ONE, GET, reply=b"1")], LOW) == [b"1"]


def test_a_start_node_that_knows_nothing_is_passed_over() -> None:
    router = Router("a", [THREE, TWO, ONE])
    gone = redis.ConnectionError("gone")
    said = [looked(THREE, []), looked(TWO, gone), looked(ONE), asked(ONE, GET, reply=b"1")]
    assert ran(router, said, LOW) == [b"1"]


@pytest.mark.parametrize(("said", "host"), [(b"", "asked"), (b"?", "asked"), (None, "asked")])
def test_a_map_without_a_nodes_address_means_who_was_asked(said: Any, host: str) -> None:
    found = SlotMap.read([[0, 16383, [said, 5, b"id"]]], Node(host, 1))
    assert found.shard(16383) == (Node(host, 5),)
    assert found.primaries() == [Node(host, 5)]


def test_every_slot_is_its_shards() -> None:
    ranges = [[9, 9, [b"h", 3]], [0, 3, [b"h", 1]], [5, 8, [b"h", 2]], [11, 16383, [b"h", 1]]]
    found = SlotMap.read(ranges, ONE)
    owners = [found.shard(slot) for slot in (0, 3, 4, 5, 8, 9, 10, 11, 16383)]
    ports = [None if shard is None else shard[0].port for shard in owners]
    assert ports == [1, 1, None, 2, 2, 3, None, 1, 1]
    assert found.primaries() == [ONE, TWO, THREE]


def test_a_nodes_url_has_all_but_the_address_of_those_that_were_named() -> None:
    rest = "/0?health_check_interval=2"
    urls = NodeUrls([f"rediss://u:p%40ss@one:7{rest}", f"rediss://u:p%40ss@two{rest}"])
    assert urls.nodes == [Node("one", 7), Node("two", 6379)]
    assert urls.of(Node("h", 9)) == f"rediss://u:p%40ss@h:9{rest}"
    assert urls.of(Node("::1", 9)).startswith("rediss://u:p%40ss@[::1]:9/")


def test_a_hash_tag_alone_says_where_a_key_is() -> None:
    assert slot_of("a{t}b") == slot_of("{t}") == slot_of("t")
    assert slot_of("a") != slot_of("b")
