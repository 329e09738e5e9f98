"""`@cached`."""
