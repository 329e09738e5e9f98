"""No key, password or token is in what the cache logs, raises, shows or prints."""

from __future__ import annotations

import io
import logging
import sys
import traceback
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core import checks
from django.core.management import call_command
from django.test import Client, override_settings
from django.urls import reverse
from django.views.debug import ExceptionReporter

import llmcache
from llmcache import Cache, backends, caching, conf, encryption, probing, recorder
from llmcache.models import VirtualKey
from llmcache.upstreams import upstreams
from tests.servers.ports import free_port
from tests.servers.provider import Provider, answer

PROVIDER_KEY = "sk-PROVIDERSECRET123456789"
HEADER_KEY = "HEADERSECRET123456789"
REDIS_PASSWORD = "REDISSECRET123456789"
S3_KEY, S3_SECRET = "S3IDSECRET123456789", "S3KEYSECRET123456789"
SITE_KEY = "SITESECRET123456789"
ENCRYPTION_KEY = "RU5DUllQVElPTlNFQ1JFVDEyMzQ1Njc4OTAxMjM0NTY"
SECRETS = (
    *(PROVIDER_KEY, HEADER_KEY, REDIS_PASSWORD, S3_KEY, S3_SECRET, SITE_KEY, ENCRYPTION_KEY),
)
ASK = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}


def settings_of(base_url: str) -> dict[str, Any]:
    """A site whose Redis and S3 refuse connections, and whose settings are full of secrets."""
    s3 = {"endpoint_url": f"http://127.0.0.1:{free_port()}", "region_name": "us-east-1"}
    keys = {"aws_access_key_id": S3_KEY, "aws_secret_access_key": S3_SECRET}
    return {
        "SECRET_KEY": SITE_KEY,
        "LLMCACHE": {
            "redis": {
                "BACKEND": "llmcache.backends.redis.RedisBackend",
                "LOCATION": f"redis://user:{REDIS_PASSWORD}@127.0.0.1:{free_port()}/0",
            },
            "s3": {
                "BACKEND": "llmcache.backends.s3.S3Backend",
                "LOCATION": "s3://bucket/place",
                "OPTIONS": {**s3, **keys, "timeout": 0.2},
            },
        },
        "LLMCACHE_CONFIG": {"ENCRYPTION_KEYS": [ENCRYPTION_KEY]},
        "LLMCACHE_PROVIDERS": {
            "default": {
                "OPTIONS": {
                    "base_url": base_url,
                    "api_key": PROVIDER_KEY,
                    "max_retries": 0,
                    "default_headers": {"X-Api-Key": HEADER_KEY},
                }
            }
        },
    }


@pytest.fixture(params=["provider answers", "provider refuses the key", "provider is away"])
def site(request: pytest.FixtureRequest, provider: Provider) -> Iterator[None]:
    base_url = provider.base_url
    if request.param == "provider is away":
        base_url = f"http://127.0.0.1:{free_port()}/v1"
    elif request.param == "provider refuses the key":
        message = f"Incorrect API key provided: {PROVIDER_KEY}"
        provider.script(answer({"error": {"message": message}}, 401))
    with override_settings(**settings_of(base_url)):
        yield


class Heard(logging.Handler):
    """All that our loggers are told, as text, with the tracebacks."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture
def heard() -> Iterator[Heard]:
    handler, root = Heard(), logging.getLogger()
    before = root.level
    for name in ("botocore", "boto3", "urllib3"):  # theirs is their business
        logging.getLogger(name).setLevel(logging.WARNING)
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield handler
    root.removeHandler(handler)
    root.setLevel(before)


def tell_no_secret(*texts: object) -> None:
    for text in map(str, texts):
        for secret in SECRETS:
            at = text.find(secret)
            assert at < 0, f"...{text[max(0, at - 300) : at + 60]}"


def test_calls_and_their_errors_tell_no_secret(door: Any, site: None, heard: Heard) -> None:
    seen: list[object] = []
    for alias in ("default", "redis", "s3"):
        for more in ({}, {"stream": True}):
            try:
                response = door.completion(**ASK, **more, using=alias)
                if more:
                    door.chunks(response)
                seen += [response, response.cache, vars(response.cache)]
            except Exception as error:
                report = ExceptionReporter(None, *sys.exc_info())
                seen += [repr(error), str(error), vars(error), traceback.format_exc()]
                # Its list of settings is Django's own business.
                seen += [frame["vars"] for frame in report.get_traceback_frames()]
    tell_no_secret(*seen, *heard.lines)
    assert heard.lines


def test_what_settings_make_shows_no_secret_when_it_is_printed(site: None) -> None:
    made = [backends.stores[alias] for alias in conf.backends()]
    stores = [caching.for_alias(alias) for alias in conf.backends()]
    seen = [conf.config(), conf.backends(), conf.providers(), made, stores]
    seen += [upstreams["default"], upstreams.route("m"), encryption.ring(), encryption.ring().keys]
    seen += [Cache(type="redis", host="127.0.0.1", port=1, password=REDIS_PASSWORD)]
    seen += [vars(one) for one in (conf.config(),) if hasattr(one, "__dict__")][1:]
    tell_no_secret(*map(repr, seen), *map(str, seen))


WRONG = [
    {"LLMCACHE": {"default": {"BACKEND": "llmcache.backends.redis.RedisBackend", **location}}}
    for location in (
        {"LOCATION": f"redis://:{REDIS_PASSWORD}/x@127.0.0.1:6379/0"},
        {"LOCATION": f"redis://:{REDIS_PASSWORD}@127.0.0.1:nine/0"},
        {"LOCATION": f"nothing://:{REDIS_PASSWORD}@127.0.0.1/0"},
        {"LOCATION": f"redis://:{REDIS_PASSWORD}@127.0.0.1/0", "OPTIONS": {"nonsense": 1}},
    )
] + [
    {"LLMCACHE": {"default": {"BACKEND": "llmcache.backends.s3.S3Backend", **one}}}
    for one in (
        {"LOCATION": "nowhere", "OPTIONS": {"aws_secret_access_key": S3_SECRET}},
        {"LOCATION": "s3://b/p", "OPTIONS": {"aws_secret_access_key": S3_SECRET, "timeout": "x"}},
        {"LOCATION": "s3://b/p", "OPTIONS": {"aws_secret_key": S3_SECRET}},
    )
]
WRONG += [
    {"LLMCACHE_PROVIDERS": {"default": {"OPTIONS": {"api_key": PROVIDER_KEY, "nonsense": 1}}}},
    {"LLMCACHE_PROVIDERS": {"default": {"OPTIONS": {"api_key": [PROVIDER_KEY]}}}},
    {"LLMCACHE_PROVIDERS": {"default": {"OPTIONS": {"default_headers": HEADER_KEY}}}},
    {"LLMCACHE_CONFIG": {"ENCRYPTION_KEYS": [ENCRYPTION_KEY, ENCRYPTION_KEY]}},
    {"LLMCACHE_CONFIG": {"ENCRYPTION_KEYS": ENCRYPTION_KEY}},
    {"LLMCACHE_CONFIG": {"ENCRYPTION_KEYS": [ENCRYPTION_KEY + "x"]}},
]


@pytest.mark.django_db  # Django's own checks ask the database what it can do
@pytest.mark.parametrize("wrong", WRONG, ids=range(len(WRONG)))
def test_checks_of_wrong_settings_tell_no_secret(wrong: dict[str, Any]) -> None:
    with override_settings(**wrong):
        messages = checks.run_checks()
    assert messages
    tell_no_secret(*messages, *[message.hint for message in messages])


@pytest.mark.django_db
def test_commands_and_pages_tell_no_secret(site: None, admin_client: Client, heard: Heard) -> None:
    for alias in ("redis", "s3", "default"):
        for _ in range(2):
            try:
                llmcache.completion(**ASK, using=alias)
            except Exception:
                assert heard.lines
    key = VirtualKey(name="tester")
    token = key.renew()
    key.save()
    recorder.flush()
    seen: list[object] = [repr(key), str(key), vars(key)]
    out = io.StringIO()
    for command in ("llmcache_stats", "llmcache_sweep", "llmcache_rollup"):
        try:
            call_command(command, stdout=out, stderr=out)
        except Exception as error:
            seen.append(error)
    for alias in ("redis", "s3"):
        try:
            probing.probe(alias)
        except Exception as error:
            seen += [error, repr(error)]
    pages = {reverse("admin:index")}
    while new := pages - set(visited := dict.fromkeys(seen_pages(seen))):
        for page in sorted(new):
            answer = admin_client.get(page)
            seen.append((page, answer.content.decode(errors="replace")))
            if answer.status_code == 200:
                pages |= links(answer.content.decode(errors="replace"))
    assert len(visited) > 8
    tell_no_secret(*seen, out.getvalue(), *heard.lines)
    assert not any(token in str(one) for one in (*seen, *heard.lines))
    assert User.objects.exists()


def seen_pages(seen: list[object]) -> list[str]:
    return [one[0] for one in seen if isinstance(one, tuple)]


def links(page: str) -> set[str]:
    """Pages of ours that a page leads to, without those that change or leave something."""
    import re

    found = {
        link.partition("#")[0].partition("?")[0] for link in re.findall(r'href="(/[^"]+)"', page)
    }
    return {link for link in found if "/llmcache/" in link}
