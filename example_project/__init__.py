"""A Django site that talks to a language model through llmcache; not part of the package."""
