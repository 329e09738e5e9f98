"""The page about SDKs, run: its code works with the real SDKs, one block after the other."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

import llmcache.httpx2
from llmcache.http import requests
from llmcache.transports import instructions
from tests.servers.provider import Provider

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "sdks.md").read_text()


def test_the_pages_code_runs(speaking: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-page")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-of-the-page")
    monkeypatch.setenv("OPENAI_BASE_URL", speaking.base_url)
    monkeypatch.setenv("ANTHROPIC_BASE_URL", speaking.base_url.removesuffix("/v1"))
    names: dict[str, Any] = {}
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    with asyncio.Runner() as runner:
        for block in blocks:
            code = compile(block, "sdks.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            made = eval(code, names)
            if inspect.iscoroutine(made):
                runner.run(_awaited(made))
    assert len(blocks) == 5
    assert names["first"] == names["second"]
    assert names["response"].headers["X-LLMCache-Outcome"] == "hit"
    # The same question in four blocks, and once more with no-cache.
    assert len(speaking.requests) == 2


async def _awaited(made: Any) -> None:
    await made


def test_the_page_names_every_option() -> None:
    signature = inspect.signature(llmcache.httpx2.CacheTransport.__init__)
    for name in set(signature.parameters) - {"self", "options"}:
        assert f"| `{name}` |" in PAGE


def test_the_page_names_every_kind_of_path_and_what_is_never_cached() -> None:
    from llmcache import effects

    for end in requests.PATHS:
        assert f"`{end}`" in PAGE
    for name in effects.ACTING:
        assert f"`{name}`" in PAGE
    assert instructions.PREFIX == "x-llmcache-"


def test_a_missing_httpx2_is_told_with_what_to_install(tmp_path: Path) -> None:
    import subprocess
    import sys

    program = (
        "import sys; sys.modules['httpx2'] = None\n"
        "import importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'httpx2' else find(name, *a)\n"
        "import django; from django.conf import settings; settings.configure(); django.setup()\n"
        "import llmcache.httpx\n"
        "import llmcache.httpx2\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert 'pip install "django-llmcache[httpx2]"' in done.stderr
