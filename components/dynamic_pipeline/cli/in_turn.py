"""Sinks that hear only of what others have written: a row that says "done" must not stand for a lost output."""

from __future__ import annotations

from collections.abc import Sequence

from dynamic_pipeline.collector import Sink
from dynamic_pipeline.events import Event
from dynamic_pipeline.stats import Stats


class _Watched:
    """A sink that remembers whether it has failed."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.has_failed = False

    def emit(self, events: Sequence[Event], stats: Stats) -> None:
        try:
            self._sink.emit(events, stats)
        except BaseException:
            self.has_failed = True
            raise

    def close(self) -> None:
        self._sink.close()


class _After:
    """A sink that hears nothing more, from the batch on in which one of *before* has failed."""

    def __init__(self, sink: Sink, before: Sequence[_Watched]) -> None:
        self._sink = sink
        self._before = before

    def emit(self, events: Sequence[Event], stats: Stats) -> None:
        if not any(sink.has_failed for sink in self._before):
            self._sink.emit(events, stats)

    def close(self) -> None:
        self._sink.close()


def in_turn(first: Sequence[Sink], then: Sequence[Sink]) -> list[Sink]:
    """*first*, and *then* those that hear only of what all of them have written."""
    watched = [_Watched(sink) for sink in first]
    return [*watched, *(_After(sink, watched) for sink in then)]
