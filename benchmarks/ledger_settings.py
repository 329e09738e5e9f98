"""Django settings of the ledger's measurements: the admin over a real PostgreSQL."""

import os

from benchmarks.settings import SECRET_KEY as SECRET_KEY
from tests.servers.postgres import database_settings

USE_TZ = True
DEBUG = False
ALLOWED_HOSTS = ["testserver"]
ROOT_URLCONF = "tests.urls"
STATIC_URL = "static/"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "llmcache",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
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
DATABASES = {"default": {**database_settings(os.environ["BENCH_DATABASE_URL"]), "CONN_MAX_AGE": 60}}
LLMCACHE = {"default": {"BACKEND": "llmcache.backends.memory.MemoryBackend"}}
LLMCACHE_PROVIDERS = {"default": {"BACKEND": "llmcache.upstreams.fake.FakeUpstream"}}
