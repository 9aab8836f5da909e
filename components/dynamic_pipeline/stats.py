"""The counts of a run: a fold over its events."""

from __future__ import annotations

from collections import Counter, deque

from dynamic_pipeline.events import Event, JobFailed, JobRetrying, JobSucceeded, JobUnfinished
from dynamic_pipeline.records import Record
from dynamic_pipeline.reports import CallTrace, CommandReport, CommandTail

_RATE_WINDOW_S = 10.0
_KEPT_FAILURES = 1000  # failed jobs kept for the summary; memory stays flat when a million fail
_KEPT_RECORD = 804  # bytes of each one's record: 200 characters, and a sign that there were more
_KEPT_ERROR = 1000  # characters
_KEPT_CAUSES = 1000
_LONGEST_CAUSE = 100  # characters
OTHER_CAUSES = "other causes"


class Stats:
    """Counts, mean service time and recent rate. Owned by the collector's thread."""

    def __init__(self) -> None:
        self.succeeded = 0
        self.failed = 0  # for good
        self.unfinished = 0
        self.cut_short = 0  # those of them that had begun
        self.retries = 0
        self.failures: list[JobFailed] = []  # the first of them, without what would fill the memory
        self.causes: Counter[str] = Counter()  # of all of them
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
                self._count_cause(event.outcome.error)
                if len(self.failures) < _KEPT_FAILURES:
                    self.failures.append(_small(event))
            elif isinstance(event, JobUnfinished):
                self.unfinished += 1
                self.cut_short += event.outcome is not None
        self.succeeded += succeeded
        self._busy_s += busy_s
        if not self._recent or now_s - self._recent[-1][0] >= _RATE_WINDOW_S / 20:
            self._recent.append((now_s, self.finished))
            # One sample from before the window stays: what ended together after a long silence counts too.
            while len(self._recent) > 1 and now_s - self._recent[1][0] >= _RATE_WINDOW_S:
                self._recent.popleft()

    def _count_cause(self, error: str) -> None:
        cause = cause_of(error)
        if cause not in self.causes and len(self.causes) >= _KEPT_CAUSES:
            cause = OTHER_CAUSES
        self.causes[cause] += 1

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


def cause_of(error: str) -> str:
    """What *error* has in common with others: the class of an exception, `exit 1`, `bad record`, …"""
    return (error.partition(": ")[0] or error).partition("\n")[0][:_LONGEST_CAUSE]


def _small(event: JobFailed) -> JobFailed:
    """*event* as it is kept: a record is cut, of a command's output the end is kept. Other payloads are the user's."""
    attempt, outcome = event
    if len(outcome.error) > _KEPT_ERROR:
        outcome = outcome._replace(error=outcome.error[:_KEPT_ERROR])
    if isinstance(outcome.value, (CommandReport, CallTrace)):
        outcome = outcome._replace(value=CommandTail(outcome.value.tail()))
    if isinstance(record := attempt.job.payload, Record):
        cut = record._replace(raw=record.raw[:_KEPT_RECORD], fields=None)
        attempt = attempt._replace(job=attempt.job._replace(payload=cut))
    return JobFailed(attempt, outcome)
