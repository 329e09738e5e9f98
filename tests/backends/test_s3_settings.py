"""What the store in S3 makes of its settings, and of a package that is missing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from botocore.config import Config
from django.core.exceptions import ImproperlyConfigured

from llmcache.backends.s3 import S3Backend
from llmcache.conf import BackendSettings
from tests.backends.test_s3 import SECRETS, A, unreachable


def test_secrets_are_in_no_repr_and_no_error() -> None:
    store = unreachable("http://127.0.0.1:9")
    with pytest.raises(Exception, match=r"127\.0\.0\.1:9") as refused:
        store.get(A)
    with pytest.raises(ImproperlyConfigured) as wrong:
        unreachable("http://127.0.0.1:9", config={"wrong": 1})
    said = "".join(map(repr, (store, store.settings, refused.value, wrong.value)))
    assert not [secret for secret in SECRETS.values() if secret in said]


@pytest.mark.parametrize(
    ("location", "options", "says"),
    [
        ("", {}, r"\['LOCATION'\] must be like s3://bucket/prefix"),
        ("s3://", {}, "must be like s3://bucket/prefix"),
        ("https://bucket.s3.amazonaws.com", {}, "must be like s3://bucket/prefix"),
        ("s3://b", {"region": "eu"}, "Did you mean 'region_name'.*Known: addressing_style"),
        ("s3://b", {"timeout": 0}, "timeout.*a number of seconds above 0"),
        ("s3://b", {"max_pool_connections": 1.5}, "max_pool_connections.*an integer from 1 up"),
        ("s3://b", {"config": {"retrys": 1}}, "botocore.config.Config does not take.*retrys"),
        ("s3://b", {"config": "fast"}, "botocore.config.Config does not take"),
        ("s3://b", {"addressing_style": "pat"}, "addressing_style"),
    ],
)
def test_a_wrong_setting_is_refused_with_its_remedy(
    location: str, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(ImproperlyConfigured, match=says):
        S3Backend(BackendSettings(alias="s3", location=location, options=options))


@pytest.mark.parametrize("form", [dict, Config])
def test_a_config_of_botocores_is_taken_over_our_defaults(form: Callable[..., Any]) -> None:
    found = unreachable("http://127.0.0.1:9", config=form(read_timeout=7)).client.meta.config
    assert (found.connect_timeout, found.read_timeout) == (0.2, 7)


def test_a_missing_package_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(ImproperlyConfigured, match=r'pip install "django-llmcache\[s3\]"'):
        S3Backend(BackendSettings(alias="s3", location="s3://bucket"))


def test_the_module_can_be_imported_without_the_package() -> None:
    script = (
        "import sys; sys.modules['boto3'] = sys.modules['botocore'] = None; "
        "import llmcache.backends.s3"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
