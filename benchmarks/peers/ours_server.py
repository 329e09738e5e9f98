"""This package, where it is measured in processes of its own. Run by this project's Python."""

from __future__ import annotations

import os
from typing import Any

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.settings"
django.setup()

from django.core.management import call_command  # noqa: E402
from django.test import override_settings  # noqa: E402
from serving import Asked, Job, Peer, serve  # noqa: E402

import llmcache  # noqa: E402


class Ours(Peer):
    packages = ("django-llmcache", "Django", "redis", "diskcache", "boto3")
    stores = ("memory", "redis")

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        place = {"host": "127.0.0.1", "port": job["store"].get("port")}
        redis = job["store"]["type"] == "redis"
        self.cache = llmcache.Cache(type="redis", **place) if redis else llmcache.Cache()
        call_command("migrate", verbosity=0)
        provider = {"OPTIONS": {"base_url": job["base_url"], "api_key": job["name"]}}
        override_settings(LLMCACHE_PROVIDERS={"default": provider}).enable()

    def ask(self, asked: Asked) -> str:
        llmcache.cache = self.cache
        return llmcache.completion(**asked).choices[0].message.content

    async def aask(self, asked: Asked) -> str:
        llmcache.cache = self.cache
        response: Any = await llmcache.acompletion(**asked)
        return response.choices[0].message.content


serve(Ours)
