"""A Django site that talks to a language model through llmcache; not part of the package."""

from importlib.util import find_spec

if find_spec("celery"):  # the package's tests use parts of the site where no extra is installed
    from example_project.celery import app as celery_app

    __all__ = ["celery_app"]
