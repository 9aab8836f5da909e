"""The job log: a row per finished job, in the columns of GNU parallel, so that its readers can read ours."""

from __future__ import annotations

from collections.abc import Sequence
from time import time

from dynamic_pipeline.events import Event, JobFailed, JobSucceeded
from dynamic_pipeline.reports import CommandReport
from dynamic_pipeline.sinks.files import GrowingFile
from dynamic_pipeline.stats import Stats
from dynamic_pipeline.views.endings import Describe, described
from dynamic_pipeline.views.joblog import joblog_row


class JobLogSink:
    """A row per job at its end, in order of completion.

    Jobs that we ended ourselves, or that never ran, get none: who resumes by such a file takes any row for done.
    *is_command*: the jobs are commands, and one without a report did not run.
    """

    def __init__(self, file: GrowingFile, describe: Describe, *, is_command: bool) -> None:
        self._file = file
        self._describe = describe
        self._is_command = is_command

    def emit(self, events: Sequence[Event], stats: Stats) -> None:  # noqa: ARG002 - a sink's signature
        rows = [
            self._row(event)
            for event in events
            if isinstance(event, (JobSucceeded, JobFailed)) and self._has_run(event)
        ]
        if rows:
            self._file.write(b"".join(rows))

    def close(self) -> None:
        self._file.close()

    def _has_run(self, event: JobSucceeded | JobFailed) -> bool:
        if self._is_command:
            return isinstance(event.outcome.value, CommandReport)
        return not event.attempt.job.payload.problem

    def _row(self, event: JobSucceeded | JobFailed) -> bytes:
        job, outcome = event.attempt.job, event.outcome
        slot = outcome.value.slot if isinstance(outcome.value, CommandReport) else 0
        return joblog_row(job.id, outcome, described(self._describe, job.payload, job.id, slot), time())
