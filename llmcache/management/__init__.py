"""What is done by `manage.py`."""
