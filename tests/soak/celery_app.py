"""The Celery application of the site under soak."""

from __future__ import annotations

from tests.servers.celery_app import app as app
from tests.soak import journal

journal.begin()
