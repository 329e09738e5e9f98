"""A site with real Celery workers over a real Redis: what callers hand over is done there."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from tests.servers.celery import Site, end_worker
from tests.servers.provider import CHAT, Handler, Provider, answer, delta, events, stream

QUEUE = {"WRITER": "celery", "RECORDER": "celery"}
COUNTS = """
    say({
        "calls": Call.objects.count(),
        "entries": Entry.objects.count(),
        "counted": sum(HourlyStat.objects.values_list("calls", flat=True)),
    })
"""


def test_a_worker_stores_what_one_process_asked_and_another_process_hits(
    celery_site: Site, provider: Provider
) -> None:
    celery_site.config = QUEUE
    asked = celery_site.run(
        """
        from llmcache.backends import stores
        first = ask("hello", tags=["greeting"])
        say([first.cache.outcome, list(stores["default"].iterate())])
        """
    )
    assert asked == ["miss", []]  # no worker runs yet: the caller's own process stored nothing
    with celery_site.worker():
        outcome = celery_site.until(
            'from llmcache.backends import stores; say(list(stores["default"].iterate()))', bool
        )
        assert len(outcome) == 1
        assert celery_site.run('say(ask("hello").cache.outcome)') == "hit"
        counts = celery_site.until(COUNTS, lambda said: said["counted"] >= 2)
    assert counts == {"calls": 2, "entries": 1, "counted": 2}
    assert celery_site.run("say(Entry.objects.get().tags.get().name)") == "greeting"
    assert len(provider.requests) == 1


def test_those_who_wait_for_a_worker_that_is_away_ask_for_themselves_soon(
    celery_site: Site, provider: Provider
) -> None:
    celery_site.config = QUEUE

    def late(handler: Handler) -> None:
        time.sleep(1)
        answer(CHAT)(handler)

    provider.script(late)
    outcomes, seconds = celery_site.run(
        """
        import asyncio, threading
        from llmcache import claims
        claims._WORKER_TAKES = (1.0, 60.0)  # so far apart that no busy machine mistakes them
        outcomes = []
        leader = threading.Thread(target=lambda: outcomes.append(ask("hello").cache.outcome))
        leader.start()
        while not claims._keeper._claims:
            time.sleep(0.01)
        began = time.monotonic()
        messages = [{"role": "user", "content": "hello"}]
        follower = llmcache.acompletion("m", messages=messages)  # as another process does
        outcomes.append(asyncio.run(follower).cache.outcome)
        leader.join()
        say([outcomes, time.monotonic() - began])
        """
    )
    assert outcomes == ["miss", "miss"]
    assert seconds < 50  # about as long as the leader, and not the minute of a slow provider
    assert len(provider.requests) == 2


def test_async_callers_hand_their_answers_to_the_worker_too(
    celery_site: Site, provider: Provider
) -> None:
    celery_site.config = QUEUE
    code = """
        import asyncio
        messages = [{"role": "user", "content": "hello"}]
        say(asyncio.run(llmcache.acompletion("m", messages=messages)).cache.outcome)
    """
    assert celery_site.run(code) == "miss"
    with celery_site.worker():
        celery_site.until(COUNTS, lambda said: said["entries"] == 1)
    assert celery_site.run(code) == "hit"


def test_streams_and_embeddings_are_stored_by_the_worker_too(
    celery_site: Site, provider: Provider
) -> None:
    celery_site.config = QUEUE
    code = """
        messages = [{"role": "user", "content": "hello"}]
        stream = llmcache.completion("m", messages=messages, stream=True)
        list(stream)
        vectors = llmcache.embedding("m", input=["one", "two"])
        say([stream.cache.outcome, vectors.cache.outcome])
    """
    vectors = [{"object": "embedding", "index": n, "embedding": [0.5]} for n in range(2)]
    usage = {"prompt_tokens": 2, "total_tokens": 2}
    provider.script(
        stream(events(delta("Hello"), delta("", "stop"))),
        answer({"object": "list", "data": vectors, "model": "m", "usage": usage}),
    )
    with celery_site.worker():
        assert celery_site.run(code) == ["miss", "miss"]
        celery_site.until(COUNTS, lambda said: said["entries"] == 3)
        assert celery_site.run(code) == ["hit", "hit"]


def test_an_answer_too_large_for_a_broker_is_stored_in_place(
    celery_site: Site, provider: Provider
) -> None:
    celery_site.config = {**QUEUE, "COMPRESS_MIN_BYTES": 0}
    choice = {**CHAT["choices"][0], "message": {"role": "assistant", "content": "x" * 2**20}}
    provider.script(answer({**CHAT, "choices": [choice]}))
    outcomes = celery_site.run('say([ask("hello").cache.outcome for _ in range(2)])')
    assert outcomes == ["miss", "hit"]  # and no worker runs


@pytest.fixture(params=["dead", "hanging"])
def no_broker(request: pytest.FixtureRequest) -> Iterator[str]:
    """A port that refuses connections, and one that takes them and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        if request.param == "hanging":
            listener.listen()
        yield f"redis://127.0.0.1:{port}/0"


def test_without_a_broker_everything_is_done_in_place(
    celery_site: Site, provider: Provider, no_broker: str
) -> None:
    celery_site.config = QUEUE
    celery_site.broker = no_broker
    said = celery_site.run(
        """
        from llmcache import events
        outcomes = [ask("hello").cache.outcome for _ in range(2)]
        recorder.stop()
        say([outcomes, events.counts()["queue_error"] > 0, Call.objects.count()])
        """
    )
    assert said == [["miss", "hit"], True, 2]
    assert celery_site.run("say(Entry.objects.count())") == 1


def test_a_store_in_the_memory_of_the_caller_is_written_by_the_caller(
    celery_site: Site, provider: Provider
) -> None:
    celery_site.config = {**QUEUE, "RECORDER": "off"}
    said = celery_site.run(
        """
        llmcache.enable_cache("disk", disk_cache_dir="%s")
        own = [ask("own").cache.outcome for _ in range(2)]
        messages = [{"role": "user", "content": "memory"}]
        local = [
            llmcache.completion("m", messages=messages, using="memory").cache.outcome
            for _ in range(2)
        ]
        say([own, local])
        """
        % (celery_site.directory / "own")
    )
    assert said == [["miss", "hit"], ["miss", "hit"]]


@pytest.mark.parametrize("by", ["shutdown", "recycling"])
def test_a_workers_child_loses_none_of_its_records_when_it_ends(
    celery_site: Site, provider: Provider, by: str
) -> None:
    celery_site.config = {"FLUSH_INTERVAL": 600}  # nothing is written before the end
    arguments = ["--max-tasks-per-child=1"] if by == "recycling" else []
    with celery_site.worker(*arguments) as process:
        celery_site.run(
            """
            from llmcache.tasks import enqueue
            for number in range(3):
                message = {"role": "user", "content": str(number)}
                enqueue("warm", {"requests": [{"model": "m", "messages": [message]}]})
            """
        )
        celery_site.until(
            'from llmcache.backends import stores; say(len(list(stores["default"].iterate())))',
            lambda number: number == 3,
        )
        if by == "shutdown":
            assert celery_site.run(COUNTS)["calls"] == 0
        end_worker(process)
        counts = celery_site.run(COUNTS)
        assert counts == {"calls": 3, "entries": 3, "counted": 3}


def test_what_a_store_does_not_take_the_worker_tries_again(
    celery_site: Site, provider: Provider
) -> None:
    celery_site.config = QUEUE
    celery_site.run('ask("hello")')
    place = celery_site.directory / "answers"
    place.rename(celery_site.directory / "away")
    place.write_text("in the way")
    with celery_site.worker():
        celery_site.until("say(None)", lambda _: "Retry in" in celery_site.logs)
        place.unlink()
        celery_site.until(COUNTS, lambda said: said["entries"] == 1)
    assert "StoreFailed" in celery_site.logs
    assert celery_site.run('say(ask("hello").cache.outcome)') == "hit"


def test_records_that_the_broker_delivers_twice_count_once(celery_site: Site) -> None:
    code = """
        import uuid
        from llmcache.records import CallRecord
        from llmcache.tasks import enqueue
        call = CallRecord(
            time.time(), "miss", "", "default", None, "completion", "m", None, None, None, "",
            False, 0.1, 0.0, None, 0.0, False, None,
        )
        arguments = {
            "calls": [call.as_json()], "entries": [], "lost": 0, "batch_id": str(uuid.uuid4()),
        }
        for _ in range(2):
            enqueue("flush_records", arguments)
        enqueue("warm", {"requests": []})
    """
    with celery_site.worker() as process:
        celery_site.run(code)
        celery_site.until(COUNTS, lambda said: said["calls"] > 0)
        end_worker(process)  # it ends what it has taken
    assert celery_site.run(COUNTS) == {"calls": 1, "entries": 0, "counted": 1}
    assert celery_site.run("say(RecordBatch.objects.count())") == 1
