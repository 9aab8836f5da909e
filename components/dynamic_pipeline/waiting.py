"""Failed attempts that wait to be tried again: a heap on the time they are due."""

from __future__ import annotations

import heapq

from dynamic_pipeline.attempts import Attempt


class WaitingRetries:
    """Retries in the order in which they are due, and of arrival when due together.

    They never enter the bounded queue: there a full queue and failing workers would wait for each other.
    The orchestrator owns it; others may read its length, and may be late.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Attempt]] = []
        self._arrivals = 0

    def __len__(self) -> int:
        return len(self._heap)

    def push(self, due_s: float, attempt: Attempt) -> None:
        self._arrivals += 1
        heapq.heappush(self._heap, (due_s, self._arrivals, attempt))

    def next_due_s(self) -> float:
        """When the first is due; infinity when none waits."""
        return self._heap[0][0] if self._heap else float("inf")

    def pop(self) -> Attempt:
        """The one that is due first."""
        return heapq.heappop(self._heap)[2]

    def take_due(self, now_s: float, most: int) -> list[Attempt]:
        """Up to *most* of those that are due, in order."""
        taken: list[Attempt] = []
        while len(taken) < most and self.next_due_s() <= now_s:
            taken.append(self.pop())
        return taken

    def take_all(self) -> list[Attempt]:
        """All of them, oldest first; none is left."""
        taken = [attempt for _, _, attempt in sorted(self._heap)]
        self._heap.clear()
        return taken
