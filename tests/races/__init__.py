"""Calls that meet: cancelled ones, simultaneous ones, forked ones, and a great many of them."""
