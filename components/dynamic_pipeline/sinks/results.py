"""The results: a line of JSON per job at its end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from time import time
from typing import Any

from dynamic_pipeline.events import Event, JobFailed, JobRetrying, JobSucceeded, JobUnfinished
from dynamic_pipeline.jobs import JobState
from dynamic_pipeline.sinks.files import GrowingFile
from dynamic_pipeline.stats import Stats
from dynamic_pipeline.views.endings import Describe
from dynamic_pipeline.views.results import attempt_fields, result_line


class ResultsSink:
    """Remembers the attempts of jobs that are being tried again, of those only."""

    def __init__(self, file: GrowingFile, describe: Describe) -> None:
        self._file = file
        self._describe = describe
        self.away: Callable[[], AbstractContextManager[object]] = nullcontext  # around each write
        self._attempts: dict[int, list[dict[str, Any]]] = {}  # by job; those that failed so far

    def emit(self, events: Sequence[Event], stats: Stats) -> None:  # noqa: ARG002 - a sink's signature
        now_s = time()
        lines = [line for event in events if (line := self._take(event, now_s))]
        if lines:
            with self.away():
                self._file.write(b"".join(lines))

    def close(self) -> None:
        self._file.close()

    def _take(self, event: Event, now_s: float) -> bytes:
        """The line for *event*; empty if there is none."""
        match event:
            case JobRetrying(attempt, outcome):
                self._attempts.setdefault(attempt.job.id, []).append(attempt_fields(outcome, now_s))
                return b""
            case JobSucceeded(attempt, outcome) | JobFailed(attempt, outcome):
                state = JobState.SUCCEEDED if isinstance(event, JobSucceeded) else JobState.FAILED
                attempts = [*self._attempts.pop(attempt.job.id, ()), attempt_fields(outcome, now_s)]
                return result_line(attempt.job, state, outcome, attempts, self._describe, now_s)
            case JobUnfinished(job, outcome):  # an interruption is no attempt
                attempts = self._attempts.pop(job.id, [])
                return result_line(job, JobState.UNFINISHED, outcome, attempts, self._describe, now_s)
            case _:
                return b""
