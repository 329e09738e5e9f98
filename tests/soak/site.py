"""The applications that the web servers of the site under soak run."""

from __future__ import annotations

from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application

import tests.soak.celery_app  # noqa: F401 - as a project's __init__ does
from llmcache.asgi import with_lifespan

wsgi = get_wsgi_application()
asgi = with_lifespan(get_asgi_application())
