"""Settings of the example site. With OPENAI_API_KEY set it asks that provider, else a local model.

Environment:
    OPENAI_API_KEY, OPENAI_BASE_URL: a provider that speaks OpenAI's HTTP API.
    EXAMPLE_MODEL: the model to ask; gpt-4o-mini there, SmolLM2 locally.
    EXAMPLE_DATA_DIR: where the database and the disk store live; `var/` if not given.
"""

from __future__ import annotations

import os
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = Path(os.environ.get("EXAMPLE_DATA_DIR") or BASE_DIR / "var").absolute()
DATA_DIR.mkdir(parents=True, exist_ok=True)

SECRET_KEY = "insecure: for the example site on this machine only"
DEBUG = True
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "[::1]"]
ROOT_URLCONF = "example_project.urls"
WSGI_APPLICATION = "example_project.wsgi.application"
ASGI_APPLICATION = "example_project.asgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
STATIC_URL = "static/"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "llmcache",
    "example_project",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "example_project.middleware.content_security_policy",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
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

LLMCACHE = {
    "default": {
        "BACKEND": "llmcache.backends.django.DjangoCacheBackend",
        "LOCATION": "default",
        "TIMEOUT": 3600,
    },
    "disk": {
        "BACKEND": "llmcache.backends.disk.DiskBackend",
        "LOCATION": str(DATA_DIR / "llmcache"),
        "TIMEOUT": 7 * 86400,
    },
}

if os.environ.get("OPENAI_API_KEY"):
    EXAMPLE_MODEL = os.environ.get("EXAMPLE_MODEL", "gpt-4o-mini")
    EXAMPLE_EMBEDDING_MODEL = "text-embedding-3-small"
    LLMCACHE_PROVIDERS = {
        "default": {
            "BACKEND": "llmcache.upstreams.openai.OpenAICompatible",
            "OPTIONS": {
                "base_url": os.environ.get("OPENAI_BASE_URL") or "https://api.openai.com/v1",
                "api_key_env": "OPENAI_API_KEY",
            },
        }
    }
else:
    EXAMPLE_MODEL = EXAMPLE_EMBEDDING_MODEL = "smollm2-135m-instruct"
    LLMCACHE_PROVIDERS = {"default": {"BACKEND": "example_project.provider.LocalProvider"}}

LLMCACHE_CONFIG = {
    # Per million tokens. A model that is not here has no price: its savings show in tokens alone.
    "PRICING": {
        "gpt-4o-mini": {"input": 0.15, "cached": 0.075, "output": 0.60},
        "text-embedding-3-small": {"input": 0.02},
    }
}
