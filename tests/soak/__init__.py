"""The soak: a whole site under load while its parts are killed, and its accounts afterwards.

`python -m tests.soak` runs it for SOAK_MINUTES; `test_soak.py` runs a short form.
"""
