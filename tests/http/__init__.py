"""The words that the doors over HTTP share."""
