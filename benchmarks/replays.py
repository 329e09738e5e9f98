"""Recorded streams against one hit of a plain answer, both in memory."""

from __future__ import annotations

from collections.abc import Iterator

from django.test import override_settings

import llmcache
from benchmarks.contenders import Bench, ours
from benchmarks.questions import STREAMED, question
from benchmarks.timing import Row, calling
from llmcache import Cache, completion


def replays(bench: Bench) -> Iterator[Row]:
    """A stream of 2 KB of text in pieces of 40 characters: up to its first text, forwarded as it
    was recorded, and read piece by piece.
    """
    address = {"base_url": bench.upstream.base_url, "api_key": "ours"}
    with override_settings(LLMCACHE_PROVIDERS={"default": {"OPTIONS": address}}):
        cache = llmcache.cache = Cache()
        asked = question(1024, "Stream this. ")
        hit, _ = ours(cache, question(1024))

        def read() -> list[str]:
            return [
                piece
                for chunk in completion(**asked, stream=True)
                for choice in chunk.choices
                if (piece := choice.delta.content)
            ]

        def forwarded() -> list[bytes]:
            return [chunk.raw for chunk in completion(**asked, stream=True)]

        def first() -> None:
            stream = completion(**asked, stream=True)
            next(stream)
            stream.close()

        assert "".join(read()) == "".join(read()) == STREAMED
        rows = {
            "first chunk of a replay": ("first chunk", "200 us", first),
            "whole replay, 2 KB, read": ("replay", "5.0", read),
            "whole replay, 2 KB, forwarded": ("", "5.0", forwarded),
        }
        for name, (path, goal, function) in rows.items():
            job = {**bench.job(path, {"type": "memory"}, asked), "answer": STREAMED}
            row_of = bench if path else Bench([], bench.upstream, bench.directory)
            own = {"ours": calling(function), "one hit": hit}
            yield row_of.race_hits(name, goal, own, job, base="one hit")
        cache.close()
