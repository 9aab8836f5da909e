"""Numbers for what runs at the same time: 1, 2, …, always the lowest that is free."""

from __future__ import annotations

import heapq
import threading


class Slots:
    """No two holders have the same number at once; with N holders at the most, no number is above N.

    Jobs choose a port, a GPU or a database by it. Any thread may take and give back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free: list[int] = []  # a heap of those that were given back
        self._highest = 0

    def take(self) -> int:
        with self._lock:
            if self._free:
                return heapq.heappop(self._free)
            self._highest += 1
            return self._highest

    def give_back(self, slot: int) -> None:
        with self._lock:
            heapq.heappush(self._free, slot)
