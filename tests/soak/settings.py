"""Settings of the site under soak; where its parts are is in the file that SOAK_SITE names."""

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
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": f"{_SITE['redis']}/2",
        "OPTIONS": {"socket_timeout": 0.5, "socket_connect_timeout": 0.5},
    }
}
LLMCACHE = {
    "default": {
        "BACKEND": "llmcache.backends.redis.RedisBackend",
        "LOCATION": f"{_SITE['redis']}/0",
    }
}
LLMCACHE_PROVIDERS = {
    "default": {"OPTIONS": {"base_url": _SITE["provider"], "api_key_env": None, "timeout": 60}}
}
LLMCACHE_CONFIG = {
    "WRITER": "celery",
    "FLUSH_INTERVAL": 0.5,
    "BUFFER_SIZE": 300,  # so that a database that is away for long costs records
    "BREAKER_COOLDOWN": 1.0,
    "SINGLE_FLIGHT_LEASE": 3.0,
}
CELERY_BROKER_URL = f"{_SITE['redis']}/1"
# Else what a killed worker had begun comes back after an hour.
CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 10}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"errors": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["errors"], "level": "WARNING"},
}
