"""The soak: a whole site under load while its parts are killed, and the accounts afterwards.

`python -m tests.soak` runs it for SOAK_SECONDS; `test_soak.py` runs a short form.
"""
