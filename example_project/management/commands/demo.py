"""The main job on real input: real questions, twice each, and then a site to try it on."""

from __future__ import annotations

import os
import textwrap
from argparse import ArgumentParser
from contextlib import ExitStack
from time import perf_counter
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.core.signals import setting_changed

from example_project.asking import request_for
from example_project.local_model import ModelUnavailable, free_port, running
from llmcache import UpstreamError, completion
from llmcache.models import Call, Entry
from llmcache.recorder import flush

QUESTIONS = (
    "What is the capital of France?",
    "Why is the sky blue?",
    "How do I boil an egg?",
    "Write a haiku about the sea.",
)
SIMILAR = (
    "How do I boil an egg for five minutes?",
    "how can I boil an egg for five minutes",
    "How do I boil an egg for ten minutes?",
)
"""A question, one that asks the same, and one that only looks so."""
STAFF = "demo"
ROW = "{:<34} {:<40} {:<7} {:>11} {:>22}"


class Command(BaseCommand):
    help = (
        "Ask a real model some questions twice, show what the cache did, and serve the chat page."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--no-serve", action="store_true", help="end after the questions")
        parser.add_argument("--port", type=int, default=0, help="port of the site (default: free)")

    def handle(self, *args: Any, **options: Any) -> None:
        call_command("migrate", verbosity=0)
        with ExitStack() as stack:
            if not os.environ.get("OPENAI_API_KEY"):
                self._start_model(stack)
            self._ask_all()
            self._ask_similar()
            if not options["no_serve"]:
                self._serve(options["port"] or free_port())

    def _start_model(self, stack: ExitStack) -> None:
        self.stdout.write(f"Starting {settings.CHAT_MODEL} on this machine ...")
        try:
            base_url = stack.enter_context(running())
        except ModelUnavailable as error:
            raise CommandError(str(error)) from error
        # The port is known only now: say so to whoever has read the settings already.
        providers = settings.LLMCACHE_PROVIDERS
        providers["default"]["OPTIONS"]["base_url"] = base_url
        setting_changed.send(
            sender=Command, setting="LLMCACHE_PROVIDERS", value=providers, enter=True
        )

    def _ask_all(self) -> None:
        self.stdout.write("")
        self.stdout.write(ROW.format("question", "answer", "outcome", "latency", "saved"))
        hits = 0
        saved_seconds = saved_tokens = saved_cost = 0.0
        for round_number in range(2):
            for number, question in enumerate(QUESTIONS):
                # Every other question is streamed: both ways share their entries.
                cache, text, seconds = self._ask(question, stream=number % 2 != round_number)
                hits += cache.hit
                saved = ""
                if cache.hit:
                    gained = cache.upstream_latency - seconds
                    saved = f"{cache.saved_tokens} tok, {gained * 1000:.0f} ms"
                    saved_seconds += gained
                    saved_tokens += cache.saved_tokens
                    saved_cost += cache.saved_cost or 0.0
                short = textwrap.shorten(text, 40, placeholder=" ...")
                latency = f"{seconds * 1000:.2f} ms"
                self.stdout.write(ROW.format(question, short, cache.outcome, latency, saved))
        self.stdout.write("")
        self.stdout.write(
            f"{hits} of {2 * len(QUESTIONS)} answers came from the cache and saved "
            f"{saved_tokens:.0f} tokens, {saved_seconds:.2f} s and ${saved_cost:.6f}."
        )
        flush()
        known = Entry.objects.live().count()
        self.stdout.write(f"{Call.objects.count()} calls are in the log, {known} in the index.")

    def _ask_similar(self) -> None:
        self.stdout.write("")
        self.stdout.write("Matched by meaning:")
        for question in SIMILAR:
            cache, _, seconds = self._ask(question, using="similar")
            said = f"similar by {cache.similarity:.2f}" if cache.similarity else cache.reason
            self.stdout.write(
                f"{question:<40} {cache.outcome:<5} {seconds * 1000:>9.2f} ms   {said}"
            )

    def _ask(
        self, question: str, *, stream: bool = False, using: str = "default"
    ) -> tuple[Any, str, float]:
        started = perf_counter()
        try:
            answer = completion(**request_for(question), stream=stream, using=using)
            if stream:
                parts = [choice.delta.content or "" for chunk in answer for choice in chunk.choices]
                text = "".join(parts)
            else:
                text = answer.choices[0].message.content
        except UpstreamError as error:
            raise CommandError(f"The model failed: {error}") from error
        return answer.cache, text, perf_counter() - started

    def _let_staff_in(self) -> None:
        users = get_user_model()._default_manager
        if not users.filter(username=STAFF).exists():
            users.create_superuser(STAFF, f"{STAFF}@example.com", STAFF)

    def _serve(self, port: int) -> None:
        import uvicorn

        self.stdout.write("")
        self.stdout.write(f"Chat with it, hits and misses shown: http://127.0.0.1:{port}/")
        self._let_staff_in()
        self.stdout.write(f"See what it did and saved: http://127.0.0.1:{port}/admin/llmcache/")
        self.stdout.write(f"(user {STAFF}, password {STAFF}; the site is for this machine only)")
        self.stdout.write("Ctrl-C ends the site and the model.")
        uvicorn.run(
            "example_project.asgi:application", port=port, log_level="warning", lifespan="off"
        )
