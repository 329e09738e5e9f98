"""What the doors that speak HTTP share: requests to calls, and answers to headers and events.

No I/O, and no web framework's request or response: bytes, texts and dicts only.
"""
