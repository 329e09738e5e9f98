"""`llmcache_key`: keys from the command line."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from llmcache.models import VirtualKey
from llmcache.virtual_keys import hashed

pytestmark = pytest.mark.django_db


def run(*arguments: Any) -> str:
    out = StringIO()
    call_command("llmcache_key", *arguments, stdout=out)
    return out.getvalue().strip()


def test_a_key_is_made_and_its_token_printed_once() -> None:
    token = run(
        *("create", "shop", "--scope", "tenant-1", "--model", "gpt-*", "--budget", "5"),
        *("--requests-per-minute", "60", "--days", "30", "--may-evict"),
    )
    key = VirtualKey.objects.get()
    assert key.digest == hashed(token)
    assert (key.scope, key.allowed_models, key.budget) == ("tenant-1", ["gpt-*"], 5)
    assert key.may_evict and not key.may_flush
    assert key.expires_at is not None
    listed = run("list")
    assert "tenant-1" in listed and "shop" in listed and token not in listed


def test_a_key_is_renewed_and_stopped() -> None:
    first = run("create", "shop")
    second = run("renew", "shop")
    assert first != second
    assert VirtualKey.objects.get().digest == hashed(second)
    assert "opens nothing" in run("stop", "shop")
    assert not VirtualKey.objects.get().is_active
    assert "stopped" in run("list")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("create", "shop", "--alias", "nowhere"), "no such alias"),
        (("renew", "other"), "no key named 'other'"),
    ],
)
def test_what_cannot_be_done_is_said(arguments: tuple[str, ...], words: str) -> None:
    with pytest.raises(CommandError, match=words) as caught:
        run(*arguments)
    assert caught.value.returncode == 2


def test_two_keys_have_two_names() -> None:
    run("create", "shop")
    with pytest.raises(CommandError, match="already exists"):
        run("create", "shop")
