"""Settings of a site of several processes: its database and its stores are where SITE_* say."""

from __future__ import annotations

import json
import os
from pathlib import Path

SECRET_KEY = "a key for tests only"
USE_TZ = True
ROOT_URLCONF = __name__
urlpatterns: list[object] = []
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "llmcache"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

_DIRECTORY = Path(os.environ["SITE_DIRECTORY"])
DATABASES = {
    "default": json.loads(os.environ["SITE_DATABASE"])
    or {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": _DIRECTORY / "site.sqlite3",
        "OPTIONS": {"timeout": 30, "transaction_mode": "IMMEDIATE"},
    }
}
LLMCACHE = {
    "default": {
        "BACKEND": "llmcache.backends.disk.DiskBackend",
        "LOCATION": str(_DIRECTORY / "answers"),
    },
    "memory": {"BACKEND": "llmcache.backends.memory.MemoryBackend"},
}
LLMCACHE_PROVIDERS = {
    "default": {"OPTIONS": {"base_url": os.environ["SITE_PROVIDER"], "api_key_env": None}}
}
LLMCACHE_CONFIG = {
    "FLUSH_INTERVAL": 0.1,
    "STORE_PROMPTS": "full",
    **json.loads(os.environ.get("SITE_CONFIG", "{}")),
}
CELERY_BROKER_URL = os.environ["SITE_BROKER"]
CELERY_TASK_DEFAULT_QUEUE = os.environ.get("SITE_QUEUE", "celery")
if os.environ.get("SITE_TASKS"):  # the worker of Django's own tasks
    INSTALLED_APPS += ["django_tasks_db"]
    TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}
