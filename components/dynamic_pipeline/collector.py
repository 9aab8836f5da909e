"""Takes events in batches and feeds the sinks, in order, on one thread."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from time import monotonic, sleep
from typing import Protocol

from dynamic_pipeline.events import Event, RunFinished
from dynamic_pipeline.handover import Handover
from dynamic_pipeline.inbox import Message, SinkFailed, Written
from dynamic_pipeline.napping import COLLECTOR_S
from dynamic_pipeline.stats import Stats


class Sink(Protocol):
    """Hears of everything that happened. Called on the collector's thread only."""

    def emit(self, events: Sequence[Event], stats: Stats) -> None:
        """Take *events*, oldest first; *stats* holds them already. What it raises ends the run with a fault."""
        ...

    def close(self) -> None:
        """Let go of files. Called once, after the last event, or after `emit` raised."""
        ...


class Collector:
    """Owns the sinks and the run's `Stats`.

    A sink that raises is closed and reported once. The thread goes on taking events whatever happens:
    a closed drain, never a blocked pipe, or the orchestrator would hang behind it.
    """

    def __init__(self, events: Handover[Event], sinks: Sequence[Sink], inbox: Handover[Message]) -> None:
        self._events = events
        self._sinks = list(sinks)
        self._inbox = inbox
        self.stats = Stats()
        self.has_ended = False  # all is written, as far as it can be
        self.error: BaseException | None = (
            None  # of the first sink that failed; read after the thread has ended
        )

    def run(self, nap: Callable[[float], object] = sleep) -> None:
        """Handle batches until the run's last event was written."""
        try:
            while not self.handle(self._events.take_wait()):
                nap(COLLECTOR_S)
        finally:
            self.has_ended = True
            self._inbox.put(Written())

    def handle(self, batch: list[Event]) -> bool:
        """Write one batch; tell whether it holds the end of the run, after which every sink is closed."""
        self.stats.add(batch, monotonic())
        for sink in tuple(self._sinks):
            try:
                sink.emit(batch, self.stats)
            except BaseException as error:  # a user's callback may raise anything; the drain stays open
                self._drop(sink, error)
        is_end = bool(batch) and isinstance(batch[-1], RunFinished)
        if is_end:
            for sink in tuple(self._sinks):
                try:
                    sink.close()
                except BaseException as error:  # a full disk is often noticed at the close
                    self._drop(sink, error)
        return is_end

    def _drop(self, sink: Sink, error: BaseException) -> None:
        self._sinks.remove(sink)
        self.error = self.error or error
        self._inbox.put(SinkFailed(error))
        with contextlib.suppress(BaseException):  # it has been reported already
            sink.close()
