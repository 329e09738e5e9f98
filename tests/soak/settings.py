"""Settings of the site under soak. They are in a file that SOAK_SITE names, so that a reload of
gunicorn finds them changed."""

from __future__ import annotations

import json
import os
from pathlib import Path

_SITE = json.loads(Path(os.environ["SOAK_SITE"]).read_text())

SECRET_KEY = "a key for tests only"
ALLOWED_HOSTS = ["*"]
USE_TZ = True
ROOT_URLCONF = "tests.soak.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "llmcache"]
DATABASES = {"default": _SITE["database"]}
LLMCACHE = {
    "default": {"BACKEND": "llmcache.backends.redis.RedisBackend", "LOCATION": _SITE["store"]}
}
LLMCACHE_PROVIDERS = {
    "default": {"OPTIONS": {"base_url": _SITE["provider"], "api_key_env": None, "timeout": 60}}
}
LLMCACHE_CONFIG = {
    "WRITER": _SITE["writer"],
    "FLUSH_INTERVAL": 0.5,
    "BACKEND_TIMEOUT": 1.0,  # a busy machine is not what is to be found out
    "BREAKER_COOLDOWN": 1.0,
    "SINGLE_FLIGHT_LEASE": 3.0,
}
CELERY_BROKER_URL = _SITE["broker"]
# Else what a killed worker had begun comes back after an hour.
CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 10}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
