"""How sure a share is that was counted on a sample."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

_Z = 1.959963984540054
"""The normal distribution's quantile for 95% of it."""


@dataclass(frozen=True, slots=True)
class Share:
    """`count` of `total`, with the Wilson score interval of 95% (E. B. Wilson, 1927).

    Attributes:
        low, high: the interval's ends, 0 to 1.
    """

    count: int
    total: int

    @property
    def value(self) -> float | None:
        """The share itself, 0 to 1; None of nothing."""
        return self.count / self.total if self.total else None

    @property
    def low(self) -> float:
        return self._ends()[0]

    @property
    def high(self) -> float:
        return self._ends()[1]

    def _ends(self) -> tuple[float, float]:
        n = self.total
        if not n:
            return 0.0, 1.0
        p, z2 = self.count / n, _Z * _Z
        middle = (p + z2 / (2 * n)) / (1 + z2 / n)
        reach = _Z / (1 + z2 / n) * sqrt(p * (1 - p) / n + z2 / (4 * n * n))
        # Rounding must not move the ends past what was counted.
        return max(0.0, min(p, middle - reach)), min(1.0, max(p, middle + reach))

    def __str__(self) -> str:
        if self.value is None:
            return "-"
        return f"{self.value:.1%} ({self.low:.1%} to {self.high:.1%})"
