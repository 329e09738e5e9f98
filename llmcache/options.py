"""Reading the OPTIONS of a store, an upstream, an embedder or a judge: what cannot be used is an
error that names the place and what is wanted."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import UnionType
from typing import Any, Protocol

from django.core.exceptions import ImproperlyConfigured

from llmcache.configuration import is_number, refuse_unknown, require


class Described(Protocol):
    """What OPTIONS are of: the settings of a store or provider, an embedder or a judge itself."""

    @property
    def setting(self) -> str:
        """Where it stands in the settings."""

    @property
    def options(self) -> Mapping[str, Any]:
        """What is given there."""


class Options(dict[str, Any]):
    """OPTIONS over their defaults. The methods give the value of a key, if it is of their kind.

    Raises:
        ImproperlyConfigured: a name that is not among the defaults, which are listed; and from each
            method, a value of another kind.
    """

    def __init__(self, described: Described, defaults: Mapping[str, Any]) -> None:
        self.name = f"{described.setting}['OPTIONS']"
        refuse_unknown(f"key of {self.name}", described.options, defaults)
        super().__init__({**defaults, **described.options})

    def require(self, key: str, ok: bool, want: str) -> Any:
        """The value, if it is ok.

        Args:
            want: what it must be, for the error.
        """
        require(ok, f"{self.name}[{key!r}]", self[key], want)
        return self[key]

    def seconds(self, key: str) -> float:
        """A number of seconds above 0."""
        ok = is_number(self[key]) and self[key] > 0
        return float(self.require(key, ok, "a number of seconds above 0"))

    def whole(self, key: str, least: int = 1) -> int:
        """An integer that is not less than that."""
        ok = type(self[key]) is int and self[key] >= least
        return int(self.require(key, ok, f"an integer from {least} up"))

    def share(self, key: str) -> float:
        """A number from 0 to 1."""
        ok = is_number(self[key]) and 0 <= self[key] <= 1
        return float(self.require(key, ok, "a share from 0 to 1"))

    def flag(self, key: str) -> bool:
        """True or False."""
        return bool(self.require(key, isinstance(self[key], bool), "True or False"))

    def text(self, key: str) -> str:
        """A string that is not empty."""
        ok = isinstance(self[key], str) and self[key] != ""
        return str(self.require(key, ok, "a text that is not empty"))

    def one_of(self, key: str, names: Collection[str]) -> str:
        """One of these names."""
        return str(self.require(key, self[key] in names, f"one of {', '.join(names)}"))

    def secret(self, key: str, kind: type[Any] | UnionType, want: str) -> None:
        """Make sure of the kind of what may be secret, without showing it."""
        if not isinstance(self[key], kind):
            found = type(self[key]).__name__
            raise ImproperlyConfigured(f"{self.name}[{key!r}] must be {want}, not a {found}.")
