"""Django settings of the site that `benchmarks.throughput` puts under load: no middleware, which
would make the paths look more alike than they are, and one Redis for both caches."""

import os

SECRET_KEY = "a key for measurements only"
ALLOWED_HOSTS = ["*"]
USE_TZ = True
ROOT_URLCONF = "benchmarks.site_urls"
INSTALLED_APPS = ["llmcache"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["BENCH_DATABASE"]}
}
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": os.environ["BENCH_REDIS_URL"],
    }
}
LLMCACHE_PROVIDERS = {"default": {"BACKEND": "llmcache.upstreams.fake.FakeUpstream"}}
LLMCACHE_CONFIG = {"BUFFER_SIZE": 1_000_000}
