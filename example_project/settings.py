"""The example site. `make demo` starts it with a real model on this machine; with OPENAI_API_KEY
set it asks that provider instead. Not for production: the secret key is public and DEBUG is on.
"""

from __future__ import annotations

import os
from pathlib import Path

from celery.schedules import crontab

BASE_DIR = Path(__file__).resolve().parent.parent
# What the site writes: its database and the answers on disk.
DATA_DIR = Path(os.environ.get("EXAMPLE_DATA_DIR") or BASE_DIR / "var")
DATA_DIR.mkdir(parents=True, exist_ok=True)

SECRET_KEY = "the example's key is public: make your own"
DEBUG = True
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "[::1]", "testserver"]
ROOT_URLCONF = "example_project.urls"
ASGI_APPLICATION = "example_project.asgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
STATIC_URL = "static/"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "llmcache",
    "example_project",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "example_project.security.content_security_policy",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
DATABASES = {
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": DATA_DIR / "example.sqlite3"}
}
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        "LOCATION": "example",
        "OPTIONS": {"MAX_ENTRIES": 10_000},
    }
}

# --- llmcache ---

# The first alias keeps answers in Django's own cache; the second on disk, over restarts; the third
# serves them to questions that mean the same, too.
LLMCACHE = {
    "default": {"LOCATION": "default", "TIMEOUT": 24 * 60 * 60},
    "disk": {
        "BACKEND": "llmcache.backends.disk.DiskBackend",
        "LOCATION": str(DATA_DIR / "llmcache"),
    },
    "similar": {
        "BACKEND": "llmcache.backends.semantic.local.LocalSemanticBackend",
        "LOCATION": str(DATA_DIR / "similar"),
        "OPTIONS": {"embedder": "minilm"},
    },
}
# All visitors of the example may share their answers.
SILENCED_SYSTEM_CHECKS = ["llmcache.W110"]
if os.environ.get("OPENAI_API_KEY"):
    CHAT_MODEL = os.environ.get("CHAT_MODEL", "gpt-4o-mini")
    LLMCACHE_PROVIDERS = {"default": {"OPTIONS": {"api_key_env": "OPENAI_API_KEY"}}}
else:
    # Set by the `demo` command, which starts the model.
    CHAT_MODEL = "smollm2-135m-instruct"
    LLMCACHE_PROVIDERS = {
        "default": {
            "OPTIONS": {
                "base_url": os.environ.get("CHAT_BASE_URL", "http://127.0.0.1:8080/v1"),
                "api_key_env": None,
            }
        }
    }
# Dollars per million tokens, so that the pages can say what a hit saved. The local model costs
# nothing; it is given the price of a small hosted one for the example's sake.
LLMCACHE_CONFIG = {
    "PRICING": {
        "gpt-4o-mini": {"input": 0.15, "cached": 0.075, "output": 0.60},
        "smollm2-135m-instruct": {"input": 0.15, "output": 0.60},
    }
}

# --- Celery ---

CELERY_BROKER_URL = os.environ.get("CELERY_BROKER_URL", "redis://127.0.0.1:6379/0")
CELERY_BEAT_SCHEDULE = {
    "llmcache-sweep": {"task": "llmcache.sweep_expired", "schedule": crontab(minute="*/10")},
    "llmcache-rollup": {
        "task": "llmcache.rollup_hours",
        "schedule": crontab(hour="3", minute="30"),
    },
}
