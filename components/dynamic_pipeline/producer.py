"""Draws records from the source and offers them to the backlog. A room of its own: one thread, one iterator."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dynamic_pipeline.errors import SourceStopped
from dynamic_pipeline.handover import Handover
from dynamic_pipeline.inbox import Message, RateKept, RateMissed, SourceEnded
from dynamic_pipeline.jobs import Job
from dynamic_pipeline.stop import Stop


class Producer:
    """Turns each record of *source* into an accepted job, as fast as the backlog lets it.

    A source that gives jobs, because a journal knows them, has their numbers kept.

    A source with an attribute `rate_per_s` is paced; the run is told when the full queue makes it miss
    that rate, once per change of state. The thread may block in the source and on the full backlog.
    """

    def __init__(
        self, source: Iterable[Any], backlog: Handover[Job], inbox: Handover[Message], stop: Stop
    ) -> None:
        self._source = source
        self._backlog = backlog
        self._inbox = inbox
        self._stop = stop
        self.accepted = 0  # written here only; others may read it, and may be late
        self._is_stalled = False

    def run(self) -> None:
        """Draw until the source ends or *stop* is set, then say so."""
        is_complete, error = False, None
        try:
            is_complete = self._draw()
        except SourceStopped:
            pass  # asked to stop while it waited for a record: nothing was drawn
        except Exception as raised:  # the user's iterator: the accepted jobs still finish
            error = raised
        self._inbox.put(SourceEnded(is_complete, error))

    def _draw(self) -> bool:
        """True when the source was read to its end."""
        # A job drawn is a job owed: `stop` is looked at before a record is drawn, never between drawing
        # and offering, or the record in hand would neither run nor be counted.
        if self._stop.is_set:
            return False
        is_paced = getattr(self._source, "rate_per_s", None) is not None
        offer, stop, new = self._backlog.offer, self._stop, tuple.__new__  # see attempts.py
        for payload in self._source:
            self.accepted = number = self.accepted + 1
            if is_paced:
                self._report_rate()
            offer(payload if type(payload) is Job else new(Job, (number, payload, 0)))
            if stop.is_set:
                return False
        return True

    def _report_rate(self) -> None:
        rate_per_s: float | None = self._source.rate_per_s  # type: ignore[attr-defined]  # looked for in `_draw`
        if rate_per_s is None:
            return
        if not self._is_stalled and self._backlog.is_full:
            self._is_stalled = True
            self._inbox.put(RateMissed(rate_per_s))
        elif self._is_stalled and len(self._backlog) <= (self._backlog.capacity or 0) // 4:
            self._is_stalled = False
            self._inbox.put(RateKept(rate_per_s))
