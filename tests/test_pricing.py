"""Money: which table a price comes from, and what is left out of it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from django.test import override_settings

from llmcache import prices, pricing
from llmcache.pricing import cost_of
from llmcache.usage import Usage

MILLION = Usage(input=1_000_000)


@pytest.fixture(autouse=True)
def without_litellm(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """LiteLLM may or may not be installed where the tests run."""
    monkeypatch.setattr(pricing, "find_spec", lambda name: None)
    forget()
    yield
    forget()


def forget() -> None:
    pricing.price_of.cache_clear()
    pricing._litellm.cache_clear()


def test_tokens_in_cached_and_out_have_prices_of_their_own() -> None:
    table = {"m": {"input": 10, "cached": 1, "output": 100}}
    with override_settings(LLMCACHE_CONFIG={"PRICING": table}):
        usage = Usage(input=3_000_000, cached=1_000_000, output=500_000)
        assert cost_of("m", usage) == 2 * 10 + 1 * 1 + 0.5 * 100


def test_without_a_price_of_their_own_cached_tokens_cost_as_input() -> None:
    with override_settings(LLMCACHE_CONFIG={"PRICING": {"m": {"input": 10}}}):
        assert cost_of("m", Usage(input=1_000_000, cached=1_000_000)) == 10


def test_the_settings_come_before_the_bundled_table() -> None:
    assert cost_of("gpt-4o-mini", MILLION) == 0.15
    with override_settings(LLMCACHE_CONFIG={"PRICING": {"gpt-4o-mini": {"input": 7}}}):
        assert cost_of("gpt-4o-mini", MILLION) == 7
        assert cost_of("gpt-4o", MILLION) == 2.5


@pytest.mark.parametrize(
    "name", ["openai/gpt-4o-mini", "gpt-4o-mini-2024-07-18", "azure/gpt-4o-mini-2024-07-18"]
)
def test_a_provider_prefix_and_a_release_date_do_not_hide_the_price(name: str) -> None:
    assert cost_of(name, MILLION) == 0.15


def test_a_release_with_a_price_of_its_own_has_that_price() -> None:
    assert cost_of("gpt-4o-2024-05-13", MILLION) == 5.0


def test_a_model_that_no_table_names_has_no_price() -> None:
    assert cost_of("somebody/some-model", MILLION) is None


def test_litellms_table_comes_before_the_bundled_one_and_is_read_without_importing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "litellm"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    rows = {
        "sample_spec": {"input_cost_per_token": "a text"},
        "gpt-4o-mini": {"input_cost_per_token": 3e-06, "output_cost_per_token": 4e-06},
        "theirs": {
            "input_cost_per_token": 2e-06,
            "cache_read_input_token_cost": 1e-06,
            "output_cost_per_token": None,
        },
    }
    (package / pricing._LITELLM_FILE).write_text(json.dumps(rows))
    monkeypatch.undo()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "litellm", raising=False)
    forget()
    assert cost_of("gpt-4o-mini", MILLION) == pytest.approx(3)
    assert cost_of("theirs", Usage(input=1_000_000, cached=1_000_000)) == pytest.approx(1)
    assert "litellm" not in sys.modules
    assert cost_of("gpt-4o", MILLION) == 2.5


def test_a_litellm_without_a_readable_table_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "litellm"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / pricing._LITELLM_FILE).write_text("{ broken")
    monkeypatch.undo()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "litellm", raising=False)
    forget()
    assert cost_of("gpt-4o-mini", MILLION) == 0.15


def test_the_bundled_table_says_how_old_it_is_and_holds_only_sensible_prices() -> None:
    assert date(2026, 1, 1) < prices.AS_OF <= date.today()
    for name, (fresh, cached, output) in prices.PRICES.items():
        assert 0 < cached <= fresh and 0 <= output < 1000, name
