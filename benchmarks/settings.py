"""Django settings of the measurements: this app, the fake provider and a database, so that calls
are recorded as on a site. What the recorder's thread writes is measured by `benchmarks.ledger`.
"""

import atexit
import tempfile
from pathlib import Path

_DIRECTORY = tempfile.TemporaryDirectory(prefix="llmcache-bench-", ignore_cleanup_errors=True)
atexit.register(_DIRECTORY.cleanup)

SECRET_KEY = "a key for measurements only"
INSTALLED_APPS = ["llmcache"]
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": Path(_DIRECTORY.name) / "records.sqlite3",
    }
}
LLMCACHE_PROVIDERS = {"default": {"BACKEND": "llmcache.upstreams.fake.FakeUpstream"}}
# Nothing is written while a round is timed, and nothing is dropped.
LLMCACHE_CONFIG = {"BUFFER_SIZE": 100_000_000, "FLUSH_INTERVAL": 86_400.0}
