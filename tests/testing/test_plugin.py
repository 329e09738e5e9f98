"""The pytest plugin, by real runs of pytest over a small project of its own."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.servers.provider import Provider, answer, delta, events, stream
from tests.testing.conftest import KEY, ROOT, Project

SUITE = """
import llmcache, pytest

HI = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}

def test_sync(llmcache_cassette, llmcache_calls):
    assert llmcache.completion(**HI).choices[0].message.content == "Hello!"
    assert llmcache.completion(**HI).cache.hit
    llmcache_calls.assert_count(1)

@pytest.mark.llmcache
async def test_async():
    assert (await llmcache.acompletion(**HI)).choices[0].message.content == "Hello!"

class TestMany:
    @pytest.mark.parametrize("words", ["a/b", "a:b"])
    def test_words(self, llmcache_cassette, words):
        llmcache.completion(model="m", messages=[{"role": "user", "content": words}])

@pytest.mark.llmcache(cassette="shared.json", match_on=["kind", "model"])
def test_named():
    llmcache.completion(**HI, temperature=0.5)
"""
STREAMED = """
import llmcache

async def test_stream(llmcache_cassette):
    stream = await llmcache.acompletion(
        model="m", messages=[{"role": "user", "content": "hi"}], stream=True
    )
    said = [chunk.choices[0].delta.content or "" async for chunk in stream]
    assert said == ["Hel", "lo", ""]
"""


def passed(done: subprocess.CompletedProcess[str], number: int) -> None:
    assert done.returncode == 0, done.stdout
    assert f"{number} passed" in done.stdout, done.stdout


def test_a_run_records_and_the_next_needs_no_provider(project: Project, provider: Provider) -> None:
    project.write("tests/test_views.py", SUITE)
    passed(project.pytest("--llmcache-record=record"), 5)
    assert len(provider.requests) == 5
    named = project.cassettes()
    assert named[0] == "tests/cassettes/shared.json"
    assert named[-2:] == [
        "tests/cassettes/test_views/test_async.json",
        "tests/cassettes/test_views/test_sync.json",
    ]
    assert len(named) == 5
    for name in named:
        assert KEY.encode() not in (project.directory / name).read_bytes()
    gone = {"BASE_URL": "http://127.0.0.1:9/v1"}
    passed(project.pytest("--llmcache-strict", **gone), 5)
    passed(project.pytest("-n", "2", "-p", "xdist", **gone), 5)
    assert len(provider.requests) == 5


def test_streams_are_replayed_too(project: Project, provider: Provider) -> None:
    provider.script(stream(events(delta("Hel"), delta("lo"), delta(finish_reason="stop"))))
    project.write("test_streams.py", STREAMED)
    passed(project.pytest(LLMCACHE_TEST_MODE="record"), 1)
    passed(project.pytest(BASE_URL="http://127.0.0.1:9/v1"), 1)
    assert len(provider.requests) == 1


def test_workers_of_xdist_record_side_by_side(project: Project, provider: Provider) -> None:
    project.write("test_views.py", SUITE)
    passed(project.pytest("-n", "2", "--llmcache-record=record"), 5)
    assert len(provider.requests) == 5
    passed(project.pytest("-n", "2"), 5)
    assert len(provider.requests) == 5


def test_nothing_is_asked_without_a_recording_in_ci_or_elsewhere(
    project: Project, provider: Provider
) -> None:
    project.write("test_views.py", SUITE)
    for environment in ({}, {"CI": "true"}, {"LLMCACHE_TEST_MODE": ""}):
        done = project.pytest(**environment)
        assert "5 failed" in done.stdout
    assert provider.requests == []
    assert project.cassettes() == []


def test_the_failure_says_what_was_asked_how_it_differs_and_how_to_record_it(
    project: Project, provider: Provider
) -> None:
    test = """
import llmcache

def test_question(llmcache_cassette):
    messages = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "WORDS"}]
    llmcache.completion(model="m", messages=messages, temperature=0)
"""
    project.write("test_it.py", test.replace("WORDS", "What is 2+2?"))
    passed(project.pytest("--llmcache-record=record"), 1)
    project.write("test_it.py", test.replace("WORDS", "What is 2 + 2?"))
    done = project.pytest()
    assert "1 failed" in done.stdout
    for line in (
        "A call would have gone to the provider (cassette ",
        "cassettes/test_it/test_question.json, mode 'replay'):",
        "completion 'm' at 'default': 'What is 2 + 2?'",
        "The nearest of 1 recorded is number 1, unused; it differs (recorded -> now):",
        "params.messages[1].content: 'What is 2+2?' -> 'What is 2 + 2?'",
        "To record it: pytest --llmcache-record=record (or new_episodes, ",
        "recorded) 'test_it.py::test_question'",
    ):
        assert line in done.stdout, done.stdout
    assert KEY not in done.stdout


def test_a_live_call_that_the_code_swallows_fails_the_test(
    project: Project, provider: Provider
) -> None:
    project.write(
        "test_it.py",
        """
import llmcache, pytest

def ask():
    try:
        return llmcache.completion(model="m", messages=[{"role": "user", "content": "hi"}])
    except Exception:
        return "sorry"

def test_swallowed(llmcache_cassette):
    assert ask() == "sorry"

async def test_async(llmcache_cassette):
    assert ask() == "sorry"

def test_fails_of_something_else(llmcache_cassette):
    assert ask() == "an answer"

def test_skips_then(llmcache_cassette):
    ask()
    pytest.skip("enough")

@pytest.fixture
def at_the_end(llmcache_cassette):
    yield
    ask()

def test_late(at_the_end):
    pass
""",
    )
    done = project.pytest("-rA")
    assert "4 failed, 1 passed, 1 error" in done.stdout, done.stdout
    assert done.stdout.count("A call would have gone to the provider") >= 5
    assert "assert 'sorry' == 'an answer'" in done.stdout
    assert provider.requests == []


def test_strict_fails_a_test_that_leaves_recordings_unused(
    project: Project, provider: Provider
) -> None:
    test = """
import llmcache

def test_questions(llmcache_cassette):
    for words in WORDS:
        llmcache.completion(model="m", messages=[{"role": "user", "content": words}])
    assert RESULT
"""
    texts = test.replace("RESULT", "True")
    project.write("test_it.py", texts.replace("WORDS", "['a', 'b']"))
    passed(project.pytest("--llmcache-record=record"), 1)
    project.write("test_it.py", texts.replace("WORDS", "['a']"))
    passed(project.pytest(), 1)
    for run in (project.pytest("--llmcache-strict"), project.pytest(LLMCACHE_TEST_STRICT="1")):
        assert "1 failed" in run.stdout
        assert "error" not in run.stdout.splitlines()[-1]
        assert "2: completion 'm' at 'default': 'b'" in run.stdout
    project.write("test_it.py", test.replace("RESULT", "False").replace("WORDS", "['a']"))
    done = project.pytest("--llmcache-strict")
    assert "were not made" not in done.stdout  # one failure is enough


def test_a_test_without_a_cassette_may_be_kept_from_the_provider(
    project: Project, provider: Provider
) -> None:
    project.write(
        "test_it.py",
        """
import llmcache

HI = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}

def test_plain():
    llmcache.completion(**HI)

def test_fake(llmcache_fake):
    llmcache_fake.answers["hi"] = "hello"
    assert llmcache.completion(**HI).choices[0].message.content == "hello"
    llmcache_fake.calls.assert_count(1)
""",
    )
    passed(project.pytest(), 2)
    assert len(provider.requests) == 1
    done = project.pytest("-o", "llmcache_block_live=true")
    assert "1 failed, 1 passed" in done.stdout
    assert "no cassette is in use" in done.stdout
    assert "llmcache_fake" in done.stdout
    assert len(provider.requests) == 1


def test_each_test_begins_with_an_empty_cache(project: Project, provider: Provider) -> None:
    project.write(
        "test_it.py",
        """
import llmcache, pytest, threading

HI = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}

@pytest.mark.parametrize("number", range(2))
def test_misses_first(llmcache_cassette, number):
    assert llmcache.completion(**HI).cache.outcome == "miss"
    found = []
    thread = threading.Thread(target=lambda: found.append(llmcache.completion(**HI)))
    thread.start()
    thread.join()
    assert found[0].cache.outcome == "hit"

@pytest.mark.llmcache(isolated=False)
@pytest.mark.parametrize("number", range(2))
def test_shared(number):
    assert llmcache.completion(**HI).cache.outcome == ("hit" if number else "miss")
""",
    )
    passed(project.pytest("--llmcache-record=record"), 4)


def test_options_for_all_cassettes_come_from_a_fixture_and_the_marker_overrides_them(
    project: Project, provider: Provider
) -> None:
    provider.script(answer())
    project.write(
        "conftest.py",
        """
import pytest

@pytest.fixture
def llmcache_options():
    return {"filter_request": without_numbers, "mode": "new_episodes"}

def without_numbers(request):
    for message in request["params"]["messages"]:
        message["content"] = message["content"].translate(dict.fromkeys(range(48, 58)))
    return request
""",
    )
    project.write(
        "test_it.py",
        """
import os, llmcache, pytest

HI = {"model": "m", "messages": [{"role": "user", "content": f"It is {os.getpid()}"}]}

def test_time(llmcache_cassette):
    assert llmcache_cassette.mode == "new_episodes"
    llmcache.completion(**HI)

@pytest.mark.llmcache(mode="off")
def test_marked(llmcache_cassette):
    assert llmcache_cassette is None
""",
    )
    passed(project.pytest(), 2)
    passed(project.pytest(), 2)
    assert len(provider.requests) == 1
    made = json.loads((project.directory / project.cassettes()[0]).read_text())
    assert made["interactions"][0]["request"]["params"]["messages"][0]["content"] == "It is "


def test_importing_the_plugin_needs_neither_settings_nor_django() -> None:
    code = (
        "import sys, llmcache.testing.pytest_plugin, llmcache.testing;"
        "print(sorted(name for name in sys.modules if name.partition('.')[0] == 'django'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_importing_the_package_does_not_import_pytest() -> None:
    code = (
        "import os, sys; os.environ['DJANGO_SETTINGS_MODULE'] = 'tests.settings';"
        "os.environ['LLMCACHE_TEST_DATABASE'] = 'sqlite';"  # that of a server brings pytest along
        "import django; django.setup(); import llmcache.testing as t;"
        "[getattr(t, name) for name in t.__all__]; print('pytest' in sys.modules, dir(t) != [])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "False True", done.stderr


def test_the_entry_point_is_the_one_that_the_tests_use() -> None:
    import tomllib

    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    assert project["entry-points"]["pytest11"] == {"llmcache": "llmcache.testing.pytest_plugin"}


def test_the_plugin_leaves_suites_without_django_alone(project: Project) -> None:
    project.write("test_it.py", "def test_nothing():\n    pass\n")
    project.environment.pop("DJANGO_SETTINGS_MODULE")
    passed(project.pytest("-p", "no:django"), 1)
