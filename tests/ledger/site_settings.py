"""Settings of a site in processes of their own: what they differ in comes as JSON in SITE."""

from __future__ import annotations

import json
import os

from tests.servers.mariadb import use_driver

_SITE = json.loads(os.environ["SITE"])
SECRET_KEY = "a key for tests only"
ALLOWED_HOSTS = ["*"]
USE_TZ = True
ROOT_URLCONF = "tests.ledger.site_urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = _SITE.get("apps", ["llmcache"])
DATABASES = _SITE["databases"]
LLMCACHE = _SITE.get("stores", {"default": {"BACKEND": "llmcache.backends.memory.MemoryBackend"}})
LLMCACHE_PROVIDERS = _SITE.get(
    "providers", {"default": {"BACKEND": "llmcache.upstreams.fake.FakeUpstream"}}
)
LLMCACHE_CONFIG = {"FLUSH_INTERVAL": 0.1, **_SITE.get("config", {})}
if any(database["ENGINE"].endswith("mysql") for database in DATABASES.values()):
    use_driver()
if _SITE.get("routers"):
    DATABASE_ROUTERS = ["tests.ledger.databases.LedgerRouter"]
