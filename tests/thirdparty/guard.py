"""A guard for what a shop sells: one product's answer is not another's."""

from __future__ import annotations

from collections.abc import Sequence

from llmcache.backends.semantic.guards import Guard, Reading


class ProductGuard(Guard):
    """A product is named in one prompt only.

    OPTIONS:
        products (list): names, in any case.
    """

    name = "products"

    def __init__(self, *, products: Sequence[str]) -> None:
        if isinstance(products, str):
            raise ValueError("products must be a list of names.")
        self._products = [name.casefold() for name in products]

    def objection(self, asked: Reading, stored: Reading) -> str:
        mine, theirs = asked.text.casefold(), stored.text.casefold()
        for name in self._products:
            if (name in mine) != (name in theirs):
                return f"{name} is in one of them only"
        return ""
