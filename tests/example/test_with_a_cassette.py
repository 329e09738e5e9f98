"""The example's views with the real model's recorded answers, as a project would test its own.

To record anew: `python -m tests.example.test_with_a_cassette`, which starts the model.
"""

from __future__ import annotations

import json
import os

from django.test import TestCase, override_settings

from llmcache.testing import LLMCacheTestMixin

BASE_URL = os.environ.get("CHAT_BASE_URL", "http://127.0.0.1:9/v1")  # nobody listens there
FRANCE = "What is the capital of France?"


@override_settings(
    ROOT_URLCONF="example_project.urls",
    CHAT_MODEL="smollm2-135m-instruct",
    LLMCACHE_PROVIDERS={"default": {"OPTIONS": {"base_url": BASE_URL, "api_key_env": None}}},
)
class AskingTests(LLMCacheTestMixin, TestCase):
    def test_the_second_visitor_gets_the_first_ones_answer(self) -> None:
        with self.assert_upstream_calls(1):
            first, second = (self.client.get("/ask/sync/", {"q": FRANCE}).json() for _ in "12")
        self.assertIn("Paris", first["answer"])
        self.assertEqual(first["answer"], second["answer"])
        self.assertEqual(first["cache"]["outcome"], "miss")
        self.assertEqual(second["cache"]["outcome"], "hit")
        self.assertGreater(second["cache"]["saved_tokens"], 0)

    async def test_a_stream_arrives_in_pieces_and_is_stored(self) -> None:
        response = await self.async_client.post("/ask/streaming/", {"question": FRANCE})
        lines = b"".join([part async for part in response]).splitlines()
        *pieces, last = map(json.loads, lines)
        self.assertGreater(len(pieces), 1)
        self.assertEqual(last["cache"]["outcome"], "miss")
        plain = (await self.async_client.get("/ask/async/", {"q": FRANCE})).json()
        self.assertEqual(plain["cache"]["outcome"], "hit")
        self.assertEqual(plain["answer"], "".join(piece["text"] for piece in pieces))
        self.upstream_calls.assert_count(1)


def record() -> None:
    """Start the model and run the tests against it."""
    import subprocess
    import sys

    from example_project.local_model import running

    with running() as base_url:
        environment = {**os.environ, "CHAT_BASE_URL": base_url, "LLMCACHE_TEST_MODE": "record"}
        subprocess.run([sys.executable, "-m", "pytest", __file__], env=environment, check=True)


if __name__ == "__main__":
    record()
