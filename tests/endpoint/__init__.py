"""The endpoint: over WSGI and ASGI, under the real SDKs."""
