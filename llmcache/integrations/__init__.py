"""Import paths of LiteLLM's page, so that its snippets run with only the name changed."""
