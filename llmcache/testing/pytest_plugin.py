"""The pytest plugin: options, the marker `llmcache` and the fixtures `llmcache_...`.

It is loaded in every project that has llmcache installed, so it imports nothing but pytest until a
test uses it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from llmcache.testing import command_line

if TYPE_CHECKING:
    from llmcache.testing.blocks import CassetteBlock
    from llmcache.testing.counting import UpstreamCalls
    from llmcache.testing.faking import FakeAnswers
    from llmcache.testing.player import Player

pytest.register_assert_rewrite("llmcache.testing.store_contract")

_MODES: Final = ("record", "replay", "off", "once", "new_episodes", "all", "none")
_MARKER: Final = (
    "llmcache(cassette=None, mode=None, match_on=None, ...): answer the test's calls to language "
    "models from a cassette; takes the arguments of llmcache.testing.use_cassette"
)
_BLOCK: Final = "llmcache_block_live"
_blocks: Final = pytest.StashKey["list[CassetteBlock]"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The command line's options and the ini file's."""
    group = parser.getgroup("llmcache", "calls to language models")
    group.addoption(
        "--llmcache-record",
        choices=_MODES,
        default=None,
        metavar="MODE",
        help="record, replay (default), off, once or new_episodes; before LLMCACHE_TEST_MODE",
    )
    group.addoption(
        "--llmcache-strict",
        action="store_true",
        default=False,
        help="fail tests that leave recorded calls unused",
    )
    parser.addini(
        _BLOCK,
        "fail calls that would reach a provider in tests without a cassette",
        type="bool",
        default=False,
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known to --strict-markers."""
    config.addinivalue_line("markers", _MARKER)
    command_line.mode = config.getoption("llmcache_record")
    command_line.strict = config.getoption("llmcache_strict")


def pytest_unconfigure() -> None:
    """Leave nothing to a run that may follow in this process."""
    command_line.mode, command_line.strict = None, False


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Fail a test that has swallowed the error of a call."""
    try:
        result = yield
    except (Exception, pytest.fail.Exception, pytest.skip.Exception) as error:
        _check(item, error)
        raise
    _check(item, None)
    return result


def _check(item: pytest.Item, error: BaseException | None) -> None:
    for block in item.stash.get(_blocks, []):
        block.check(error, strict=True)


@pytest.fixture(autouse=True)
def _llmcache_as_marked(request: pytest.FixtureRequest) -> Iterator[None]:
    if request.node.get_closest_marker("llmcache") is not None:
        request.getfixturevalue("llmcache_cassette")
    elif request.config.getini(_BLOCK):
        from llmcache.testing.blocks import block_live_calls

        with _open(request, block_live_calls()):
            yield
            return
    yield


@pytest.fixture
def llmcache_options() -> dict[str, Any]:
    """Arguments of `use_cassette` for all cassettes; override it in a conftest.py."""
    return {}


@pytest.fixture
def llmcache_cassette(
    request: pytest.FixtureRequest, llmcache_options: dict[str, Any]
) -> Iterator[Player | None]:
    """A cassette for the test, `cassettes/<module>/<test>.json` beside it unless its marker names
    another; None in mode "off". The test begins with an empty cache."""
    from llmcache.testing import places
    from llmcache.testing.blocks import use_cassette

    marker = request.node.get_closest_marker("llmcache")
    given = {**llmcache_options, **(marker.kwargs if marker else {})}
    named = given.pop("cassette", None) or next(iter(marker.args if marker else ()), None)
    file: Path = request.node.path
    if named is None:
        parts = request.node.nodeid.split("::")[1:]
        path = places.cassette_of(file, ".".join(parts))
    else:
        path = places.named(file, named)
    given.setdefault(
        "advice",
        "To record it: pytest --llmcache-record=record (or new_episodes, which keeps what is "
        f"recorded) '{request.node.nodeid}'",
    )
    with _open(request, use_cassette(path, **given)) as player:
        yield player


@contextmanager
def _open(request: pytest.FixtureRequest, block: CassetteBlock) -> Iterator[Player | None]:
    player = block.open()
    request.node.stash.setdefault(_blocks, []).append(block)
    try:
        yield player
    finally:
        block.close()


@pytest.fixture
def llmcache_calls() -> Iterator[UpstreamCalls]:
    """The test's calls that the cache did not answer: `llmcache_calls.assert_count(1)`."""
    from llmcache.testing.counting import UpstreamCalls

    with UpstreamCalls() as calls:
        yield calls


@pytest.fixture
def llmcache_fake() -> Iterator[FakeAnswers]:
    """Answers without a cassette: `llmcache_fake.answers["prompt"] = "text"`. The test begins with
    an empty cache."""
    from llmcache.testing.faking import FakeAnswers
    from llmcache.testing.isolation import isolated_cache

    with isolated_cache(), FakeAnswers() as fake:
        yield fake
