"""Failed attempts that wait to be tried again: a heap on the time they are due, and those that are due."""

from __future__ import annotations

import heapq
from collections import deque

from dynamic_pipeline.attempts import Attempt


class WaitingRetries:
    """Retries in the order in which they are due, and of arrival when due together.

    They never enter the bounded queue: there a full queue and failing workers would wait for each other.
    The orchestrator owns it; others may read its lengths, and may be late.
    """

    def __init__(self) -> None:
        self._delayed: list[tuple[float, int, Attempt]] = []
        self._due: deque[Attempt] = deque()
        self._arrivals = 0

    def __len__(self) -> int:
        return len(self._delayed) + len(self._due)

    @property
    def delayed(self) -> int:
        """Those whose time had not come when the owner last looked: a worker more would not help them."""
        return len(self._delayed)

    def push(self, due_s: float, attempt: Attempt) -> None:
        self._arrivals += 1
        heapq.heappush(self._delayed, (due_s, self._arrivals, attempt))

    def next_due_s(self) -> float:
        """When the next one becomes due; infinity when none is delayed."""
        return self._delayed[0][0] if self._delayed else float("inf")

    def take_due(self, now_s: float, most: int) -> list[Attempt]:
        """Up to *most* of those that are due, in order."""
        while self._delayed and self._delayed[0][0] <= now_s:
            self._due.append(heapq.heappop(self._delayed)[2])
        return [self._due.popleft() for _ in range(min(most, len(self._due)))]

    def release(self) -> None:
        """No delay counts any more: all are due."""
        self._due.extend(attempt for _, _, attempt in sorted(self._delayed))
        self._delayed.clear()

    def take_all(self) -> list[Attempt]:
        """All of them, oldest first; none is left."""
        self.release()
        taken = list(self._due)
        self._due.clear()
        return taken
