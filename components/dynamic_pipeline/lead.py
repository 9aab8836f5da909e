"""How far the source may run ahead of the oldest job whose output is not shown yet."""

from __future__ import annotations

from collections import deque

from dynamic_pipeline.handover import Bell
from dynamic_pipeline.stop import Stop

MOST_AHEAD = 10_000  # jobs; what waits behind a slow one costs at most a few KiB each


class Lead:
    """Shared by a source that draws and a sink that releases jobs in the order of the input.

    Without it one job that takes an hour would let the results of a million others pile up behind it.
    """

    def __init__(self, stop: Stop, most: int = MOST_AHEAD) -> None:
        self.order: deque[int] = deque()  # numbers of the jobs that were drawn and not released, oldest first
        self.released = 0  # jobs, all those before them included; the sink writes it, the source reads it
        self._most = most
        self._stop = stop
        self._bell = Bell()  # where the source waits
        stop.tell(self._bell.ring)

    def release(self, count: int) -> None:
        """The first *count* jobs are out of the way. Called by the sink only, and never blocks."""
        self.released = count
        self._bell.ring()

    def has_room(self, drawn: int) -> bool:
        """After *drawn* records another one may be drawn."""
        return drawn - self.released < self._most

    def wait_room(self, drawn: int) -> bool:
        """Block until there is room after *drawn* records; False if the run stops producing instead."""
        while not self.has_room(drawn):
            if self._stop.is_set:
                return False
            self._bell.wait(lambda: self._stop.is_set or self.has_room(drawn))
        return True
