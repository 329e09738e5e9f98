"""The mixin, by real runs of Django's test runner and of pytest over a project of its own."""

from __future__ import annotations

import subprocess

from tests.servers.provider import Provider
from tests.testing.conftest import KEY, Project

SUITE = """
import llmcache
from django.test import SimpleTestCase, TestCase
from llmcache.testing import LLMCacheTestMixin
from unittest import IsolatedAsyncioTestCase, skip

def hi(words="hi"):
    return {"model": "m", "messages": [{"role": "user", "content": words}]}

class SyncTests(LLMCacheTestMixin, TestCase):
    def setUp(self):  # without super()
        self.first = llmcache.completion(**hi())

    def test_asserts(self):
        self.assert_not_cached(self.first)
        with self.assert_upstream_calls(1):
            self.assert_cached(llmcache.completion(**hi()))
            self.assert_outcome(llmcache.completion(**hi("two")), "miss")
        self.assert_in_cache(**hi())
        self.assert_evicted(**hi("three"))
        self.assert_saved_tokens(llmcache.completion(**hi()))
        self.upstream_calls.assert_count(2)

    def test_begins_empty(self):
        self.assert_not_cached(self.first)
        self.assert_evicted(**hi("two"))

    @skip("not now")
    def test_skipped(self):
        raise AssertionError

class AsyncTests(LLMCacheTestMixin, SimpleTestCase):
    cassette = "shared.json"

    async def test_async(self):
        self.assert_not_cached(await llmcache.acompletion(**hi()))

    async def test_stream(self):
        stream = await llmcache.acompletion(**hi("plain"))
        self.assertEqual(stream.choices[0].message.content, "Hello!")

class PlainTests(LLMCacheTestMixin, IsolatedAsyncioTestCase):
    cassette_options = {"match_on": ["kind", "model"]}

    async def test_plain(self):
        await llmcache.acompletion(**hi())
"""
FAILING = """
import llmcache
from django.test import SimpleTestCase
from llmcache.testing import LLMCacheTestMixin
from unittest import IsolatedAsyncioTestCase, skip

def hi():
    return {"model": "m", "messages": [{"role": "user", "content": "hi"}]}

class Tests(LLMCacheTestMixin, SimpleTestCase):
    def test_raises(self):
        llmcache.completion(**hi())

    def test_swallows(self):
        try:
            llmcache.completion(**hi())
        except Exception:
            pass

    async def test_swallows_async(self):
        try:
            await llmcache.acompletion(**hi())
        except Exception:
            pass

class Plain(LLMCacheTestMixin, IsolatedAsyncioTestCase):
    async def test_raises(self):
        await llmcache.acompletion(**hi())

class Wrong(LLMCacheTestMixin, SimpleTestCase):
    cassette_mode = "recrod"

    def test_nothing(self):
        llmcache.completion(**hi())

class XSkipped(LLMCacheTestMixin, SimpleTestCase):
    @skip("not now")
    def test_skipped(self):
        pass

class ZLast(SimpleTestCase):  # runners take classes by their names, or in this order
    def test_all_is_put_back(self):
        from django.conf import settings
        from llmcache.upstreams import upstreams
        assert upstreams.interceptor is None
        assert not hasattr(settings, "LLMCACHE")
"""
GONE = {"BASE_URL": "http://127.0.0.1:9/v1"}


def run(project: Project, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return project.run("-m", "django", "test", *arguments, **environment)


def test_djangos_runner_records_and_then_needs_no_provider(
    project: Project, provider: Provider
) -> None:
    project.write("test_site.py", SUITE)
    done = run(project, LLMCACHE_TEST_MODE="record")
    assert done.returncode == 0, done.stdout
    assert "Found 6 test(s)" in done.stdout  # Python 3.12.1 does not count one that is skipped
    assert len(provider.requests) == 6
    assert project.cassettes() == [
        "cassettes/shared.json",
        "cassettes/test_site/PlainTests.test_plain.json",
        "cassettes/test_site/SyncTests.test_asserts.json",
        "cassettes/test_site/SyncTests.test_begins_empty.json",
    ]
    for name in project.cassettes():
        assert KEY.encode() not in (project.directory / name).read_bytes()
    for done in (
        run(project, **GONE),
        # Django sends tests to its processes, and those of IsolatedAsyncioTestCase cannot be sent.
        run(project, "--parallel=2", "test_site.SyncTests", "test_site.AsyncTests", **GONE),
        run(project, "--pdb", "test_site.SyncTests", **GONE),
        project.pytest(**GONE),
    ):
        assert done.returncode == 0, done.stdout
    assert len(provider.requests) == 6


def test_live_calls_fail_the_test_raised_or_swallowed_once(
    project: Project, provider: Provider
) -> None:
    project.write("test_site.py", FAILING)
    done = run(project)
    assert "FAILED (failures=4, errors=1, skipped=1)" in done.stdout, done.stdout
    assert done.stdout.count("UnexpectedLiveCall: A call would have gone") == 4
    assert "To record it: LLMCACHE_TEST_MODE=record" in done.stdout
    assert "Unknown mode of a cassette 'recrod'. Did you mean 'record'?" in done.stdout
    done = project.pytest()
    assert "5 failed, 1 passed, 1 skipped" in done.stdout, done.stdout
    assert provider.requests == []


def test_unused_recordings_fail_a_strict_run(project: Project, provider: Provider) -> None:
    project.write("test_site.py", SUITE)
    run(project, LLMCACHE_TEST_MODE="record")
    fewer = SUITE.replace('hi("two")), "miss"', 'hi()), "hit"').replace("calls(1)", "calls(0)")
    project.write("test_site.py", fewer.replace("count(2)", "count(1)"))
    assert run(project, "test_site.SyncTests").returncode == 0
    done = run(project, "test_site.SyncTests", LLMCACHE_TEST_STRICT="1")
    assert "FAILED (failures=1, skipped=1)" in done.stdout
    assert "These recorded calls in " in done.stdout
    assert "2: completion 'm' at 'default': 'two'" in done.stdout
