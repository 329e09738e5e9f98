"""The recorder's thread in real processes: when it starts, and that nothing is lost at the end."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ledger.processes import Site, ending, sqlite_site
from tests.servers import postgres


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A migrated site."""
    return sqlite_site(tmp_path)


@pytest.fixture(params=["sqlite", "postgres"])
def either_site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    """A migrated site on SQLite, and on PostgreSQL."""
    if request.param == "sqlite":
        yield sqlite_site(tmp_path)
        return
    with postgres.fresh(request.getfixturevalue("postgres")) as database:
        found = Site({"default": database})
        found.migrate()
        yield found


def test_no_thread_runs_before_the_first_call(site: Site) -> None:
    said = site.run(
        """
        names = lambda: [t.name for t in threading.enumerate() if t.name.startswith("llmcache")]
        before = names()
        ask("one")
        say([before, names()])
        """
    )
    assert said == [[], ["llmcache-recorder"]]


def test_what_waits_when_the_interpreter_exits_is_written(either_site: Site) -> None:
    either_site.more["config"] = {"FLUSH_INTERVAL": 60}
    either_site.run('for n in range(300): ask("one")')
    assert either_site.counts() == {
        "calls": 300,
        "different": 300,
        "entries": 1,
        "counted": 300,
        "lost": 0,
    }


def test_an_exit_by_an_exception_or_by_sys_exit_writes_too(site: Site) -> None:
    site.more["config"] = {"FLUSH_INTERVAL": 60}
    for end in ("sys.exit(0)", "raise KeyboardInterrupt", "1 / 0"):
        process = site.start(f'ask("one")\n{end}')
        process.popen.communicate(timeout=60)
    assert site.counts()["calls"] == 3


def test_a_forked_child_records_for_itself_and_its_parent_goes_on(either_site: Site) -> None:
    either_site.more["config"] = {"FLUSH_INTERVAL": 0.05}
    either_site.run(
        """
        for n in range(5): ask(f"before {n}")
        recorder.flush()
        ask("waits in the parent while it forks")
        children = []
        for number in range(3):
            child = os.fork()
            if not child:
                for n in range(7): ask(f"child {number} {n}")
                sys.exit(0)
            children.append(child)
        for child in children:
            assert os.waitpid(child, 0)[1] == 0
        time.sleep(0.2)
        for n in range(5): ask(f"after {n}")
        """
    )
    found = either_site.counts()
    assert (found["calls"], found["counted"], found["lost"]) == (5 + 1 + 21 + 5, 32, 0)
    assert found["entries"] == 32


POOL = """
import multiprocessing

def work(number):
    import django
    django.setup()
    import llmcache
    for n in range(5):
        messages = [{"role": "user", "content": f"{number} {n}"}]
        llmcache.completion("m", messages=messages)

if __name__ == "__main__":
    context = multiprocessing.get_context(%r)
    children = [context.Process(target=work, args=(number,)) for number in range(3)]
    for child in children: child.start()
    for child in children: child.join()
    with context.Pool(2) as pool:
        pool.map(work, [10, 11, 12])
        pool.close()
        pool.join()
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_children_of_multiprocessing_write_before_they_end(
    site: Site, method: str, tmp_path: Path
) -> None:
    site.more["config"] = {"FLUSH_INTERVAL": 60}
    program = tmp_path / "program.py"
    program.write_text(f"import sys\nsys.path.insert(0, '.')\n{POOL % method}")
    site.command(sys.executable, str(program)).end()
    found = site.counts()
    assert (found["calls"], found["entries"], found["lost"]) == (30, 30, 0)


def test_threads_of_one_process_lose_nothing(either_site: Site) -> None:
    either_site.run(
        """
        from concurrent.futures import ThreadPoolExecutor
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda n: ask(f"{n % 50}"), range(2000)))
        """
    )
    found = either_site.counts()
    assert (found["calls"], found["counted"], found["entries"]) == (2000, 2000, 50)


def test_async_calls_are_recorded_and_may_be_flushed(site: Site) -> None:
    said = site.run(
        """
        import asyncio
        from llmcache.recorder import aflush
        from llmcache.models import Call

        async def main():
            messages = [{"role": "user", "content": "one"}]
            await asyncio.gather(
                *(llmcache.acompletion("m", messages=messages) for _ in range(50))
            )
            await aflush()
            return await Call.objects.acount()
        say(asyncio.run(main()))
        """
    )
    assert said == 50


def test_a_full_buffer_drops_records_and_the_figures_say_how_many(site: Site) -> None:
    site.more["config"] = {"FLUSH_INTERVAL": 60, "BUFFER_SIZE": 20}
    site.run(
        """
        recorder._wake.set = lambda: None  # so that the buffer does fill up
        for n in range(50): ask("one")
        del recorder._wake.set
        """
    )
    found = site.counts()
    assert (found["calls"], found["lost"]) == (20, 30)


def test_a_half_full_buffer_is_written_before_its_time(site: Site) -> None:
    site.more["config"] = {"FLUSH_INTERVAL": 60, "BUFFER_SIZE": 20}
    process = site.start('for n in range(10): ask("one")\nsay(0)\nheard()')
    with ending(process):
        process.hear()
        site.until(lambda found: found["calls"] == 10)
        process.tell()
        process.end()


def test_nothing_is_recorded_and_nothing_breaks_without_what_recording_needs(
    tmp_path: Path,
) -> None:
    code = """
        said = [ask("one"), ask("one")]
        recorder.flush()
        names = [t.name for t in threading.enumerate() if t.name == "llmcache-recorder"]
        say([*said, recorder.waiting, names, events.counts()])
    """
    off = sqlite_site(tmp_path, config={"RECORDER": "off"})
    assert off.run(code) == ["miss", "hit", 0, [], {}]
    assert off.counts()["calls"] == 0
    assert Site({}, {"apps": ["llmcache"]}).run(code) == ["miss", "hit", 0, [], {}]
    not_installed = Site(off.databases, {"apps": []})
    assert not_installed.run(code) == ["miss", "hit", 0, [], {}]


def test_rows_go_where_the_router_sends_them_even_without_a_default_database(
    tmp_path: Path,
) -> None:
    site = sqlite_site(tmp_path)
    routed = Site({"ledger": site.databases["default"]}, {"routers": True})
    routed.databases["default"] = {"ENGINE": "django.db.backends.dummy"}
    routed.run('ask("one"); ask("one")')
    assert site.counts() == {"calls": 2, "different": 2, "entries": 1, "counted": 2, "lost": 0}


def test_a_caller_function_that_fails_costs_no_record(site: Site) -> None:
    site.more["config"] = {"CALLER": "tests.ledger.site_urls.no_such_thing"}
    assert site.run('say([ask("one"), events.counts()["record_error"] > 0])') == ["miss", True]
    site.more["config"] = {"CALLER": "tests.ledger.site_urls.failing_caller"}
    site.run('ask("one")')
    assert site.counts()["calls"] == 1


def test_what_is_left_of_tests_is_not_written_into_the_sites_own_tables(tmp_path: Path) -> None:
    site = sqlite_site(tmp_path)
    code = """
        from django.test.utils import setup_test_environment, teardown_test_environment
        setup_test_environment()
        say([ask("one"), ask("one"), recorder.waiting])
        teardown_test_environment()
    """
    assert site.run(code) == ["miss", "hit", 3]
    assert site.counts()["calls"] == 0


def test_a_process_that_gets_no_thread_notes_once_what_to_do_at_its_end(tmp_path: Path) -> None:
    code = """
        from multiprocessing.util import _finalizer_registry
        threading.stack_size(2**46)
        ask("one")
        before = len(_finalizer_registry)
        say([before > 0, ask("one"), ask("one"), len(_finalizer_registry) - before])
    """
    assert sqlite_site(tmp_path).run(code) == [True, "hit", "hit", 0]


def test_a_process_that_gets_no_thread_writes_its_records_when_it_ends(tmp_path: Path) -> None:
    site = sqlite_site(tmp_path)
    code = """
        threading.stack_size(2**46)  # more than any system gives
        say([ask("one"), ask("one"), recorder.waiting, events.counts()["thread_error"] > 0])
    """
    assert site.run(code) == ["miss", "hit", 3, True]
    assert site.counts()["calls"] == 2
