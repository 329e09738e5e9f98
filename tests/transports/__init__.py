"""The transports, under the real SDKs and under plain HTTP clients."""
