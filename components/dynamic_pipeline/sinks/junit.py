"""The report for CI systems, JUnit XML: streamed, so that a million jobs cost no memory."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from dynamic_pipeline.events import Event, JobFailed, JobSucceeded, JobUnfinished
from dynamic_pipeline.sinks.files import CompleteFile
from dynamic_pipeline.stats import Stats
from dynamic_pipeline.views.junit import HEAD_BYTES, TAIL, error_case, job_case, suite_head


class JunitSink:
    """A test case per job. The file takes its name only in `finish`, which is called after the run."""

    def __init__(self, file: CompleteFile) -> None:
        self._file = file
        self._file.write(b" " * HEAD_BYTES)
        self._tests = self._failures = self._skipped = 0

    def emit(self, events: Sequence[Event], stats: Stats) -> None:  # noqa: ARG002 - a sink's signature
        cases = []
        for event in events:
            match event:
                case JobSucceeded(attempt, outcome) | JobFailed(attempt, outcome):
                    self._failures += isinstance(event, JobFailed)
                    cases.append(job_case(attempt.job, outcome))
                case JobUnfinished(job, outcome):
                    self._skipped += 1
                    cases.append(job_case(job, outcome, is_skipped=True))
                case _:
                    pass
        if cases:
            self._tests += len(cases)
            self._file.write(b"".join(cases))

    def close(self) -> None:
        pass

    def finish(self, *, errors: Sequence[str], started: datetime, elapsed_s: float) -> None:
        """Write the head with the counts, and give the file its name. *errors* are the run's own.

        Raises:
            OutputError: that cannot be done; what stood there before stays.
        """
        if not self._file.is_open:  # it could not be written, which has been told
            return
        self._file.write(b"".join(map(error_case, errors)) + TAIL)
        head = suite_head(
            tests=self._tests + len(errors),
            failures=self._failures,
            errors=len(errors),
            skipped=self._skipped,
            started=started,
            elapsed_s=elapsed_s,
        )
        self._file.complete(head)
