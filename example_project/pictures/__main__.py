"""`python -m example_project.pictures DIRECTORY`: the admin's pages over a made-up day, in a real
Chromium.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, Final, NamedTuple

WIDTH: Final = 1200
CHROMIUM: Final = ("chromium", "chromium-browser", "google-chrome")


class Picture(NamedTuple):
    """One picture.

    Attributes:
        page: the name of the admin's page, such as "entry_changelist".
        height: in pixels, from the page's top.
        query: of the page's address.
        of: which object's page it is: the name of one of `objects()`.
        before: what to do on the page first.
        dark: whether in the dark theme.
    """

    page: str
    height: int
    query: str = ""
    of: str = ""
    before: Callable[[Any], None] = lambda page: None
    dark: bool = False


def _explain(page: Any) -> None:
    import orjson

    from example_project.pictures.a_day import ANSWERS, question

    asked = {**question(next(iter(ANSWERS))), "temperature": 0.7, "cache": {"namespace": "help"}}
    page.get_by_label("Arguments as JSON").fill(orjson.dumps(asked).decode())
    page.get_by_role("button", name="Explain").click()
    page.get_by_role("heading", name="miss").wait_for()


PICTURES: Final = {
    "dashboard": Picture("hourlystat_changelist", 1250),
    "entries": Picture("entry_changelist", 760),
    "evict": Picture("entry_evict_matching", 420, query="?namespace=help"),
    "entry": Picture("entry_change", 1130, of="entry"),
    "explain": Picture("explain", 1106, before=_explain),
    "stores": Picture("aliases", 1110, dark=True),
    "calls": Picture("call_changelist", 700, query="?outcome=stale"),
    "similar-pairs": Picture("matchedpair_changelist", 660),
    "similar-pair": Picture("matchedpair_change", 910, of="pair"),
    "threshold": Picture("threshold", 1080, query="?pairs=sample&threshold=0.7"),
    "keys": Picture("virtualkey_changelist", 430),
}
"""By the name of the file."""


def take(directory: Path) -> None:
    """Take all pictures."""
    from playwright.sync_api import sync_playwright

    path = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if path is None:
        sys.exit(f"No browser: none of {', '.join(CHROMIUM)} is on the PATH.")
    with _site() as (base, cookie, addresses), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        for name, picture in PICTURES.items():
            context = browser.new_context(
                viewport={"width": WIDTH, "height": picture.height},
                color_scheme="dark" if picture.dark else "light",
            )
            context.add_cookies([{**cookie, "url": base}])
            context.add_init_script("localStorage['django.admin.navSidebarIsOpen'] = 'false'")
            context.route("**/favicon.ico", lambda route: route.fulfill(status=204))
            page = context.new_page()
            page.goto(base + addresses[name])
            picture.before(page)
            _save(page.screenshot(), directory / f"{name}.png")
            context.close()
        browser.close()


def _save(png: bytes, path: Path) -> None:
    """Write a picture with a palette, which takes a third of the bytes."""
    from PIL import Image

    Image.open(BytesIO(png)).convert("RGB").quantize(128).save(path, optimize=True)
    sys.stdout.write(f"{path}: {path.stat().st_size:,} bytes\n")


@contextmanager
def _site() -> Iterator[tuple[str, dict[str, str], dict[str, str]]]:
    """A running site: its address, the cookie of one who is signed in, and the pages' addresses."""
    with tempfile.TemporaryDirectory() as directory:
        os.environ["EXAMPLE_DATA_DIR"] = os.environ["HOME"] = directory
        os.environ["DJANGO_SETTINGS_MODULE"] = "example_project.settings"
        import django

        django.setup()
        from django.contrib.staticfiles.handlers import StaticFilesHandler
        from django.core.management import call_command
        from django.test import Client, override_settings
        from django.test.testcases import LiveServerThread

        from example_project.pictures import a_day
        from llmcache.asgi import write_down

        call_command("migrate", verbosity=0)
        with override_settings(**site_settings(a_day.ANSWERS)):
            a_day.fill()
            client = Client()
            client.login(username=a_day.STAFF, password=a_day.STAFF)
            cookie = {"name": "sessionid", "value": client.cookies["sessionid"].value}
            addresses = addresses_of()
            server = LiveServerThread("127.0.0.1", StaticFilesHandler)
            server.daemon = True
            server.start()
            server.is_ready.wait()
            try:
                yield f"http://127.0.0.1:{server.port}", cookie, addresses
            finally:
                server.terminate()
                write_down()


def site_settings(answers: dict[str, str]) -> dict[str, Any]:
    """The cache's settings of the site that is shown; its stores are in the home directory."""
    backends = "llmcache.backends"
    prices = {"gpt-4o-mini": (0.15, 0.6), "gpt-4o": (2.5, 10.0)}
    return {
        "LLMCACHE": {
            "default": {"LOCATION": "default", "TIMEOUT": 86400},
            "disk": {"BACKEND": f"{backends}.disk.DiskBackend", "LOCATION": "~/answers"},
            "tiered": {
                "BACKEND": f"{backends}.layered.LayeredBackend",
                "OPTIONS": {"layers": ["default", "disk"]},
            },
            "similar": {
                "BACKEND": f"{backends}.semantic.local.LocalSemanticBackend",
                "LOCATION": "~/similar",
            },
        },
        "LLMCACHE_CONFIG": {
            "STORE_PROMPTS": "full",
            "PRICING": {model: {"input": i, "output": o} for model, (i, o) in prices.items()},
        },
        "LLMCACHE_PROVIDERS": {
            "default": {
                "BACKEND": "llmcache.upstreams.fake.FakeUpstream",
                "OPTIONS": {"responses": answers},
            }
        },
    }


def addresses_of() -> dict[str, str]:
    """By the name of the picture: the address of what it shows."""
    from django.urls import reverse

    from llmcache.models import Entry, MatchedPair

    objects = {
        "entry": Entry.objects.order_by("-hits")[0],
        "pair": MatchedPair.objects.filter(same=None).order_by("-times")[0],
    }
    return {
        name: reverse(
            f"admin:llmcache_{picture.page}", args=[objects[picture.of].pk] if picture.of else []
        )
        + picture.query
        for name, picture in PICTURES.items()
    }


if __name__ == "__main__":
    take(Path(sys.argv[1]))
