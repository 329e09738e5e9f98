"""A Django site that talks to a language model through llmcache; not part of the package."""

from example_project.celery import app as celery_app

__all__ = ["celery_app"]
