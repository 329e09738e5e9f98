"""Settings of the site that real web servers serve."""

from __future__ import annotations

import os

SECRET_KEY = "a key for tests only"
ALLOWED_HOSTS = ["*"]
USE_TZ = True
ROOT_URLCONF = "tests.decorators.server_urls"
INSTALLED_APPS = ["llmcache"]
DATABASES = {
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["SITE_DATABASE"]}
}
LLMCACHE = {"default": {"BACKEND": "llmcache.backends.memory.MemoryBackend"}}
LLMCACHE_PROVIDERS = {"default": {"BACKEND": "llmcache.upstreams.fake.FakeUpstream"}}
LLMCACHE_CONFIG = {"RECORDER": "off"}
