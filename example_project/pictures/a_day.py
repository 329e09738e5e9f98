"""A help desk's day: what was asked, how often, and what staff have said of it."""

from __future__ import annotations

import random
from hashlib import sha256
from time import time
from typing import Any, Final

import orjson
from django.contrib.auth import get_user_model
from django.utils import timezone

import llmcache
from llmcache import ledger
from llmcache.matching import observing
from llmcache.models import Entry, MatchedPair, VirtualKey
from llmcache.recorder import flush
from llmcache.records import CallRecord

MODEL: Final = "gpt-4o-mini"
STAFF: Final = "ada"
SYSTEM: Final = "You work at the help desk of a shop for kettles. Answer shortly and kindly."
ANSWERS: Final = {
    "How do I descale the kettle?": "Fill it half with water and half with vinegar, let it boil, "
    "wait for an hour, and rinse it three times.",
    "Is the lid dishwasher safe?": "Yes, on the upper rack. The kettle itself is not.",
    "How long is the guarantee?": "Two years from the day on the invoice.",
    "Why does it switch off too early?": "Most often because of lime on the sensor: descale it. If "
    "that does not help, send it to us; we pay for the parcel.",
    "Can I have the blue one in green?": "Not yet. Green comes in spring, and we keep one for you "
    "if you like.",
    "Where is my order?": "Give me its number, please: it is in the first line of the mail that "
    "you have from us.",
}
ALIKE: Final = (
    ("How do I get a refund for my order?", "how can i get my order refunded"),
    ("What are your opening hours on Sunday?", "What opening hours do you have on Sunday?"),
    ("Do you deliver to Jersey?", "do you deliver to jersey please"),
    ("How do I change my password?", "how can I change my password"),
)
"""Questions that a store takes for one."""


def question(text: str, **more: Any) -> dict[str, Any]:
    """The arguments of a call at the help desk."""
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": text}]
    return {"model": MODEL, "messages": messages, "temperature": 0.2, **more}


def fill() -> None:
    """Make the day, in the database and the stores that the settings name."""
    get_user_model()._default_manager.create_superuser(STAFF, f"{STAFF}@example.com", STAFF)
    ledger.write(_calls(), [], lost=3)
    for number, text in enumerate(ANSWERS):
        for _ in range(2 + number):
            llmcache.completion(
                **question(text),
                using=("default", "disk")[number % 2],
                cache={
                    "namespace": "help",
                    "tags": [f"kettle:{number % 3 + 1}"],
                    "caller": "website",
                },
            )
    for one, other in ALIKE:
        for text in (one, other, other):
            llmcache.completion(**question(text), using="similar", cache={"caller": "website"})
    flush()
    observing.flush()
    Entry.objects.filter(preview__startswith="How long").update(pinned=True, expires=None)
    first, second, *_ = MatchedPair.objects.order_by("pk")
    MatchedPair.objects.filter(pk=first.pk).update(same=True, how="audit", decided_by=STAFF)
    MatchedPair.objects.filter(pk=second.pk).update(same=True, how="audit", decided_by="audit")
    llmcache.evict(tag="kettle:9", reason="a new manual", by=STAFF)
    for name, budget in (("warehouse", 5.0), ("mobile app", 40.0)):
        key = VirtualKey(name=name, budget=budget, requests_per_minute=120, created_by=STAFF)
        key.renew()
        key.last_used = timezone.now()
        key.save()


def _calls() -> list[CallRecord]:
    """Calls of several models, callers and outcomes, more of them by day than by night."""
    lots = random.Random(7)
    seconds = {MODEL: 1.4, "gpt-4o": 3.2, "mistral-small": 0.9}
    now = time()
    made = []
    for hour in range(24):
        busy = 6 < (now // 3600 - hour) % 24 < 20
        for _ in range(30 + 70 * busy + lots.randrange(20)):
            model = lots.choices(list(seconds), [6, 2, 2])[0]
            (outcome,) = lots.choices(
                ["hit", "miss", "stale", "coalesced", "bypass", "failed"], [62, 26, 3, 4, 4, 1]
            )
            served = outcome in ("hit", "stale", "coalesced")
            usage = {"input": lots.randrange(200, 3000), "output": lots.randrange(50, 700)}
            took = seconds[model] * lots.lognormvariate(0, 0.4)
            noted = {"kind": "completion", "model": model, "usage": usage, "seconds": took}
            made.append(
                CallRecord(
                    at=now - hour * 3600 - lots.randrange(3000),
                    outcome=outcome,
                    reason="caching=False" if outcome == "bypass" else "",
                    alias="default",
                    digest=sha256(str(lots.randrange(50)).encode()).hexdigest(),
                    kind="completion",
                    model=model,
                    namespace=lots.choice(["help", "shop", None]),
                    scope=None,
                    caller=lots.choice(["website", "mobile app", "mails"]),
                    layer="default",
                    streamed=lots.random() < 0.4,
                    latency=0.0004 * lots.lognormvariate(0, 0.5) if served else took,
                    age=lots.random() * 40_000 if served else 0.0,
                    similarity=1.0 if served else None,
                    lookup_cost=0.0,
                    served=served,
                    noted=None if outcome == "failed" else orjson.dumps(noted),
                )
            )
    return made
