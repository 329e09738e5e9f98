"""Sphinx: Markdown pages in docs/, built with warnings as errors."""

from __future__ import annotations

project = "django-llmcache"
author = "The django-llmcache authors"
copyright = "the django-llmcache authors"
extensions = ["myst_parser"]
html_theme = "furo"
html_title = project
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
