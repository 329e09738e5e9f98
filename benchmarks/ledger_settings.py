"""Django settings of the ledger's measurements: the test site over a real PostgreSQL."""

import os

from tests.servers.postgres import database_settings
from tests.settings import *  # noqa: F403

ALLOWED_HOSTS = ["testserver"]
DATABASES = {"default": {**database_settings(os.environ["BENCH_DATABASE_URL"]), "CONN_MAX_AGE": 60}}
LLMCACHE = {"default": {"BACKEND": "llmcache.backends.memory.MemoryBackend"}}
