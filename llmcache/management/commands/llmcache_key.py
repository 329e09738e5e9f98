"""`llmcache_key`: the endpoint's keys, from the command line."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.utils import timezone

from llmcache.management.running import Running, WrongUsage
from llmcache.models import VirtualKey
from llmcache.virtual_keys import Period


class Command(Running):
    help = (
        "Make, renew, stop and list the keys of the endpoint. A new token is printed once, alone "
        "on the last line, and is kept nowhere."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        create = verbs.add_parser("create", help="make a key and print its token")
        create.add_argument("name", help="by which figures and pages call it")
        create.add_argument("--scope", default="", help="whose answers; its own if not given")
        create.add_argument("--namespace", default="", help="of its entries")
        create.add_argument("--alias", default="", help="of LLMCACHE")
        create.add_argument(
            "--model", action="append", default=[], help="or a pattern; may be repeated"
        )
        create.add_argument("--requests-per-minute", type=int, help="no limit if not given")
        create.add_argument("--budget", type=float, help="in the currency of the prices")
        create.add_argument(
            "--budget-period",
            choices=Period.values,
            default=Period.MONTH,
            help="how long the budget is for (default: %(default)s)",
        )
        create.add_argument("--days", type=float, help="how long it lives")
        create.add_argument("--may-evict", action="store_true", help="open cache/delete to it")
        create.add_argument("--may-flush", action="store_true", help="open cache/flush to it")
        for verb, words in (("renew", "give a key a new token"), ("stop", "stop a key")):
            verbs.add_parser(verb, help=words).add_argument("name", help="the key's")
        verbs.add_parser("list", help="all keys, a line each")

    def run(self, options: dict[str, Any]) -> None:
        getattr(self, f"_{options['verb']}")(options)

    def _create(self, options: dict[str, Any]) -> None:
        days = options["days"]
        key = VirtualKey(
            name=options["name"],
            scope=options["scope"],
            namespace=options["namespace"],
            alias=options["alias"],
            allowed_models=options["model"],
            requests_per_minute=options["requests_per_minute"],
            budget=options["budget"],
            budget_period=options["budget_period"],
            expires_at=None if days is None else timezone.now() + timedelta(days=days),
            may_evict=options["may_evict"],
            may_flush=options["may_flush"],
            created_by="llmcache_key",
        )
        token = key.renew()
        try:
            key.full_clean()
        except ValidationError as error:
            raise WrongUsage("; ".join(error.messages)) from error
        key.save()
        self.say(token)

    def _renew(self, options: dict[str, Any]) -> None:
        key = self._found(options["name"])
        token = key.renew()
        key.save(update_fields=["shown", "digest"])
        self.say(token)

    def _stop(self, options: dict[str, Any]) -> None:
        key = self._found(options["name"])
        key.is_active = False
        key.save(update_fields=["is_active"])
        self.say(f"{key.name} opens nothing any more.")

    def _list(self, options: dict[str, Any]) -> None:
        for key in VirtualKey.objects.order_by("name"):
            state = "active" if key.is_active and not key.holder().has_ended() else "stopped"
            self.say(f"{key.shown}…  {state:8}  {key.holder().scope}  {key.name}")

    def _found(self, name: str) -> VirtualKey:
        key = VirtualKey.objects.filter(name=name).first()
        if key is None:
            raise WrongUsage(f"There is no key named {name!r}; `llmcache_key list` shows them.")
        return key
