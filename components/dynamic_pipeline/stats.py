"""The counts of a run: a fold over its events."""

from __future__ import annotations

from collections import deque

from dynamic_pipeline.events import Event, JobFailed, JobRetrying, JobSucceeded, JobUnfinished

_RATE_WINDOW_S = 10.0
_KEPT_FAILURES = 1000  # failed jobs kept for the summary; memory stays flat when a million fail


class Stats:
    """Counts, mean service time and recent rate. Owned by the collector's thread."""

    def __init__(self) -> None:
        self.succeeded = 0
        self.failed = 0  # for good
        self.unfinished = 0
        self.retries = 0
        self.failures: list[JobFailed] = []  # the first of them
        self._busy_s = 0.0  # summed over all attempts
        self._recent: deque[tuple[float, int]] = deque()  # (when, finished until then)

    def add(self, events: list[Event], now_s: float) -> None:
        """Fold *events*, which happened until *now_s* of a monotonic clock."""
        succeeded, busy_s = 0, 0.0
        for event in events:
            if type(event) is JobSucceeded:
                succeeded += 1
                busy_s += event[1][1]  # event.outcome.elapsed_s
            elif isinstance(event, JobRetrying):
                self.retries += 1
                self._busy_s += event.outcome.elapsed_s
            elif isinstance(event, JobFailed):
                self.failed += 1
                self._busy_s += event.outcome.elapsed_s
                if len(self.failures) < _KEPT_FAILURES:
                    self.failures.append(event)
            elif isinstance(event, JobUnfinished):
                self.unfinished += 1
        self.succeeded += succeeded
        self._busy_s += busy_s
        if not self._recent or now_s - self._recent[-1][0] >= _RATE_WINDOW_S / 20:
            self._recent.append((now_s, self.finished))
            # One sample from before the window stays: what ended together after a long silence counts too.
            while len(self._recent) > 1 and now_s - self._recent[1][0] >= _RATE_WINDOW_S:
                self._recent.popleft()

    @property
    def finished(self) -> int:
        return self.succeeded + self.failed

    def service_time_s(self) -> float | None:
        """Mean seconds of work that a finished job took, retries included; None before the first."""
        return self._busy_s / self.finished if self.finished else None

    def rate_per_s(self, now_s: float) -> float:
        """Jobs finished per second over the last ten seconds, or since the start if that is less."""
        since_s, before = self._recent[0] if self._recent else (now_s, 0)
        elapsed_s = now_s - since_s
        return (self.finished - before) / elapsed_s if elapsed_s > 0 else 0.0
