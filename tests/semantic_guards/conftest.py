"""Each test reads its texts anew: what an earlier one remembered would answer for code that has
changed since, as under `make mutants`, which changes it after a run of all tests.
"""

from __future__ import annotations

import pytest

from llmcache.backends.semantic.guards import measures, reading, stems, words

_REMEMBERING = (
    measures._script_of,
    reading._mistyped_date,
    reading._read_short,
    stems._stem,
    words._akin,
)


@pytest.fixture(autouse=True)
def _nothing_is_remembered() -> None:
    for function in _REMEMBERING:
        function.cache_clear()
