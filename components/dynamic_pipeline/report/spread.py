"""How a measure is spread over many values, in little memory. Pure."""

from __future__ import annotations

import math
from collections import Counter
from typing import NamedTuple

_GROWTH = 1.02  # of a bucket's upper edge over its lower one: what is told is within 1 per cent
_LOG = math.log(_GROWTH)
_COARSE = (1, 2, 5)
_FINE = (1.0, 1.25, 1.6, 2.0, 2.5, 3.2, 4.0, 5.0, 6.3, 8.0)
_WIDE = 1000  # times the least value: beyond that a decade gets three bars


class Bar(NamedTuple):
    """Values from *low* up to *high*."""

    low: float
    high: float
    size: int  # how many they are


class Spread:
    """Counts of values in buckets that are 2 per cent wide. Values are whole numbers from 0 on."""

    def __init__(self) -> None:
        self.count = 0
        self.total = 0
        self.least = 0
        self.most = 0
        self._buckets: Counter[int] = Counter()

    def add(self, value: int) -> None:
        value = max(value, 0)
        self.least = value if not self.count else min(self.least, value)
        self.most = max(self.most, value)
        self.count += 1
        self.total += value
        self._buckets[int(math.log(value) / _LOG) if value > 1 else 0] += 1

    def at(self, share: float) -> float | None:
        """The value that *share* of all values do not exceed, within 1 per cent; None if there are none."""
        if not self.count:
            return None
        rank = max(1, math.ceil(share * self.count))
        if rank == self.count:
            return float(self.most)
        seen = 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= rank:
                return min(max(_middle(bucket), self.least), self.most)
        raise AssertionError("every value is in a bucket")

    def bars(self) -> list[Bar]:
        """The histogram, its edges round numbers that grow by the same factor, the empty ones in between included."""
        if not self.count:
            return []
        steps = _COARSE if self.most > _WIDE * max(self.least, 1) else _FINE
        middles = {bucket: min(max(_middle(bucket), self.least), self.most) for bucket in self._buckets}
        edges = _edges(min(middles.values()), max(middles.values()), steps)
        counts = [0] * (len(edges) - 1)
        for bucket, middle in middles.items():
            place = next(at for at, high in enumerate(edges[1:]) if middle < high)
            counts[place] += self._buckets[bucket]
        return [Bar(*bar) for bar in zip(edges, edges[1:], counts, strict=False)]


def _middle(bucket: int) -> float:
    return math.exp((bucket + 0.5) * _LOG) if bucket else 1.0


def _edges(low: float, high: float, steps: tuple[float, ...]) -> list[float]:
    """Round numbers, the first at or below *low*, the last above *high*."""
    decade = math.floor(math.log10(max(low, 1.0)))
    edges: list[float] = []
    while True:
        for step in steps:
            edge = step * 10.0**decade
            if edge <= low:
                edges = [edge]
            elif edges or not low:
                edges.append(edge)
            else:  # below the first round number
                edges = [0.0, edge]
            if edge > high:
                return edges if len(edges) > 1 else [0.0, *edges]
        decade += 1
