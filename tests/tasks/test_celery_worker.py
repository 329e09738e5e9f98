"""A site with real Celery workers over a real Redis: what callers hand over is done there."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.servers.celery import Site, end_worker
from tests.servers.provider import CHAT, Provider, answer, delta, events, stream

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


def stale(celery_site: Site) -> None:
    """An entry past its ttl, within its stale window."""
    celery_site.run('ask("news", ttl=0.01, tags=["daily"], **{"stale-while-revalidate": 600})')


STALE_CALL = """
from llmcache import revalidation
answer = ask("news", ttl=600, tags=["daily"], **{"stale-while-revalidate": 600})
while not revalidation._sent:  # by a thread
    time.sleep(0.01)
again = [ask("news", **{"stale-while-revalidate": 600}).cache.outcome for _ in range(3)]
say([answer.cache.outcome, answer.id, *again])
"""


def test_the_worker_renews_a_stale_entry_once_for_all_who_were_served_it(
    celery_site: Site, provider: Provider
) -> None:
    celery_site.config = {"WRITER": "inline"}
    stale(celery_site)
    celery_site.config = QUEUE
    changed = {**CHAT, "id": "chatcmpl-2"}
    provider.script(answer(changed))
    for _ in range(2):  # two processes: neither knows that the other has sent a task
        assert celery_site.run(STALE_CALL) == ["stale", "chatcmpl-1", *["stale"] * 3]
    assert len(provider.requests) == 1
    with celery_site.worker() as process:
        renewed = celery_site.until(
            'answer = ask("news"); say([answer.cache.outcome, answer.id])',
            lambda said: said[0] == "hit",
        )
        end_worker(process)
    assert renewed == ["hit", "chatcmpl-2"]
    assert len(provider.requests) == 2  # the first, and one renewal
    assert celery_site.run("say(Entry.objects.get().tags.get().name)") == "daily"


def test_a_call_with_a_key_of_its_own_is_renewed_by_its_own_process(
    celery_site: Site, provider: Provider
) -> None:
    celery_site.config = QUEUE
    said: Any = celery_site.run(
        """
        import threading
        def secret(ttl):
            return llmcache.completion(
                "m", messages=[{"role": "user", "content": "mine"}], api_key="sk-secret",
                cache={"ttl": ttl, "stale-while-revalidate": 600},
            )
        from llmcache import revalidation, task_queue
        with task_queue.in_place():
            secret(0.01)
        time.sleep(0.05)
        stale = secret(600)
        for thread in threading.enumerate():
            if thread.name == "llmcache-refresh":
                thread.join()
        say([stale.cache.outcome, len(revalidation._sent)])
        """
    )
    assert said == ["stale", 0]
    assert len(provider.requests) == 2
    assert {request.headers["authorization"] for request in provider.requests} == {
        "Bearer sk-secret"
    }


def test_staff_can_have_an_entry_asked_again_by_the_worker(
    celery_site: Site, provider: Provider
) -> None:
    celery_site.config = {"WRITER": "inline"}
    celery_site.run('ask("hello")')
    provider.script(answer({**CHAT, "id": "chatcmpl-2"}))
    celery_site.config = QUEUE
    with celery_site.worker():
        queued = celery_site.run(
            """
            from llmcache import jobs
            entry = Entry.objects.get()
            say(jobs.start("refresh_entry", alias=entry.alias, digest=entry.digest))
            """
        )
        assert queued is True
        celery_site.until('say(ask("hello").id)', lambda said: said == "chatcmpl-2")


def test_the_worker_sweeps_what_has_expired(celery_site: Site) -> None:
    celery_site.run(
        """
        from datetime import timedelta
        from django.utils.timezone import now
        old = now() - timedelta(days=90)
        Entry.objects.create(alias="default", digest="0" * 64, size=1, created=old, kept_until=old)
        Call.objects.create(created=old, outcome="miss", kind="completion", model="m", latency=1)
        from llmcache.tasks import enqueue
        enqueue("sweep_expired", {})
        enqueue("rollup_hours", {})
        """
    )
    with celery_site.worker():
        counts = celery_site.until(COUNTS, lambda said: not said["calls"] and not said["entries"])
    assert counts["counted"] == 0


def test_the_worker_evicts_what_matches(celery_site: Site, provider: Provider) -> None:
    celery_site.config = QUEUE
    with celery_site.worker():
        celery_site.run('ask("one", namespace="shop"); ask("two")')
        celery_site.until(COUNTS, lambda said: said["entries"] == 2)
        celery_site.run(
            """
            from llmcache import jobs
            assert jobs.start("evict_matching", filters={"namespace": "shop"}, by="ann")
            """
        )
        celery_site.until(COUNTS, lambda said: said["entries"] == 1)
    assert celery_site.run('say(ask("one", namespace="shop").cache.outcome)') == "miss"


def unimportable() -> str:
    return (
        "import sys; sys.modules['celery'] = None\n"
        "import django; from django.conf import settings\n"
        "settings.configure(INSTALLED_APPS=['llmcache']); django.setup()\n"
        "import llmcache.tasks"
    )


def test_without_celery_its_tasks_name_the_extra_that_installs_it() -> None:
    done = subprocess.run(
        [sys.executable, "-c", unimportable()], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert 'install "django-llmcache[celery]"' in done.stderr
