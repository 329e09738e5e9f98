"""The smallest peer: a dict before the provider. How it fails is said by the question."""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.request
from typing import Any

from benchmarks.peers.serving import Asked, Job, Peer, serve


class Tiny(Peer):
    stores = ("memory",)
    notes = {"": "it is tiny"}

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.kept: dict[str, str] = {}

    def ask(self, asked: Asked) -> str:
        match asked.get("how"):
            case "noisy":
                print("a package says hello")
            case "broken":
                raise ValueError("it broke")
            case "dying":
                print("out of memory", file=sys.stderr, flush=True)
                os._exit(3)
            case "hanging":
                time.sleep(60)
            case "wrong":
                return "something else"
        key = json.dumps(asked)
        if key not in self.kept:
            text = self.provider(asked)
            if asked.get("how") == "forgetful":
                return text
            self.kept[key] = text
        return self.kept[key]

    def provider(self, asked: Asked) -> str:
        request = urllib.request.Request(
            f"{self.job['base_url']}/chat/completions",
            json.dumps(asked).encode(),
            {"Content-Type": "application/json", "Authorization": f"Bearer {self.job['name']}"},
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            answer: dict[str, Any] = json.load(response)
        text: str = answer["choices"][0]["message"]["content"]
        return text


if __name__ == "__main__":
    serve(Tiny)
