"""Django settings of `benchmarks.throughput` within its own process."""

import os

from benchmarks.settings import *  # noqa: F403

ALLOWED_HOSTS = ["testserver"]
CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    "locmem": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "bench"},
    "redis": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": os.environ["BENCH_REDIS_URL"],
    },
}
LLMCACHE = {"locmem": {"LOCATION": "locmem"}, "redis": {"LOCATION": "redis"}}
