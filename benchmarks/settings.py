"""Django settings of the measurements: nothing but this app and the fake provider."""

SECRET_KEY = "a key for measurements only"
INSTALLED_APPS = ["llmcache"]
USE_TZ = True
LLMCACHE_PROVIDERS = {"default": {"BACKEND": "llmcache.upstreams.fake.FakeUpstream"}}
