"""A site with real Celery workers over a real Redis: renewing, asking again, sweeping, evicting."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from tests.servers.celery import Site, end_worker
from tests.servers.provider import CHAT, Provider, answer

QUEUE = {"WRITER": "celery", "RECORDER": "celery"}
COUNTS = """
    say({
        "calls": Call.objects.count(),
        "entries": Entry.objects.count(),
        "counted": sum(HourlyStat.objects.values_list("calls", flat=True)),
    })
"""


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


OFTEN_STALE = """
import asyncio
def outcome():
    answer = ask("news", ttl=0.2, **{"stale-while-revalidate": 600})
    return [answer.cache.outcome, answer.id]

async def aoutcome():
    messages = [{"role": "user", "content": "news"}]
    cache = {"ttl": 0.2, "stale-while-revalidate": 600}
    answer = await llmcache.acompletion("m", messages=messages, cache=cache)
    await asyncio.sleep(0.05)  # its task goes on
    return [answer.cache.outcome, answer.id]

seen = []
end = time.monotonic() + 30
with asyncio.Runner() as runner:
    while len({identity for _, identity in seen}) < 4 and time.monotonic() < end:
        seen.append(%s)
        time.sleep(0.05)
say(seen)
"""


@pytest.mark.parametrize("call", ["outcome()", "runner.run(aoutcome())"])
def test_one_process_has_an_entry_renewed_as_often_as_it_is_stale(
    celery_site: Site, provider: Provider, call: str
) -> None:
    celery_site.config = QUEUE
    provider.script(*(answer({**CHAT, "id": f"chatcmpl-{number}"}) for number in range(9)))
    with celery_site.worker():
        seen = celery_site.run(OFTEN_STALE % call)
    assert len({identity for _, identity in seen}) == 4
    first_hit = next(number for number, (outcome, _) in enumerate(seen) if outcome == "stale")
    assert "miss" not in {outcome for outcome, _ in seen[first_hit:]}


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
