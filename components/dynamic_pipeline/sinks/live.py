"""What the live view remembers of a run's events, and the sinks that keep it below what is written."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import islice
from math import ceil
from time import monotonic

from dynamic_pipeline.events import AbortStarted, DrainStarted, Event, JobSucceeded, LimitChanged
from dynamic_pipeline.sinks.screen import Screen
from dynamic_pipeline.stats import Stats
from dynamic_pipeline.views.escape import escape

_LATEST = 500  # attempts whose times count
_OF_A_BATCH = 50  # are looked at: many times a second there are thousands


class LiveFacts:
    """The first of a run's sinks: it takes the turn on the screen, and remembers. Others may read, and be late."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self.stats = Stats()
        self.flaky = 0  # jobs that succeeded after a retry
        self.decision, self.decided_s = "", 0.0
        self.stopping = "running"
        self._took_s: deque[float] = deque(maxlen=_LATEST)

    def emit(self, events: Sequence[Event], stats: Stats) -> None:
        self.stats = stats
        succeeded = [event for event in events if type(event) is JobSucceeded]
        self._took_s.extend(event.outcome.elapsed_s for event in islice(succeeded, _OF_A_BATCH))
        self.flaky += sum(event.attempt.number > 1 for event in succeeded)
        if len(succeeded) < len(events):
            for event in events:
                self._note(event)
        self._screen.hold()  # until `LiveAgain`

    def _note(self, event: Event) -> None:
        match event:
            case LimitChanged(old, new, _, reason):
                self.decision, self.decided_s = f"{old}→{new} {escape(reason)}", monotonic()
            case DrainStarted():
                self.stopping = "draining"
            case AbortStarted():
                self.stopping = "ending"
            case _:
                pass

    def close(self) -> None:
        pass

    def quantile_s(self, share: float) -> float | None:
        """Of the seconds that attempts took lately."""
        ordered = sorted(self._took_s.copy())
        return ordered[ceil(share * len(ordered)) - 1] if ordered else None


class LiveAgain:
    """The last of a run's sinks: all was written, and the view comes back."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen

    def emit(self, events: Sequence[Event], stats: Stats) -> None:  # noqa: ARG002 - a sink's signature
        self._screen.release()

    def close(self) -> None:
        pass
