"""The headers of an SDK's request, by their names in lower case."""

from __future__ import annotations

from typing import Any

import httpx
import httpx2
import pytest

from llmcache.transports.reading import headers_of

SENT: dict[str, Any] = {
    "usual": [("Authorization", "Bearer a"), ("X-Stainless-Lang", "python")],
    "none": [],
    "one name several times": [("X-Tag", "a"), ("Accept", "*/*"), ("x-tag", "b"), ("X-TAG", "")],
    "in UTF-8": [(b"X-Name", "Zoë".encode()), (b"X-Tag", b"a")],
    "in Latin-1": [(b"X-Name", "Zoë".encode("latin-1"))],
}


@pytest.mark.parametrize("library", [httpx, httpx2])
@pytest.mark.parametrize("sent", SENT.values(), ids=SENT)
def test_headers_are_what_the_library_says(library: Any, sent: Any) -> None:
    headers = library.Headers(sent)
    assert headers_of(headers) == dict(headers.items())
