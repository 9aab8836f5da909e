"""The end of a run, as text: what failed, and one greppable last line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from dynamic_pipeline.events import JobFailed
from dynamic_pipeline.records import Record
from dynamic_pipeline.views.escape import escape


class Counts(Protocol):
    """What the text needs to know of a run."""

    @property
    def succeeded(self) -> int: ...
    @property
    def failed(self) -> int: ...
    @property
    def unfinished(self) -> int: ...
    @property
    def failures(self) -> Sequence[JobFailed]: ...
    @property
    def is_source_complete(self) -> bool: ...


def summary_lines(run: Counts, code: int) -> Iterator[str]:
    """Each failed job with its record and the reason, then the counts."""
    if run.failures:
        yield "FAILED"
        for attempt, outcome in run.failures:
            record = attempt.job.payload
            where = f"{escape(record.source)}:{record.line}" if isinstance(record, Record) else ""
            tries = f" after {attempt.number} tries" if attempt.number > 1 else ""
            yield f"  job {attempt.job.id}  {where}  {escape(str(record))}  {escape(outcome.error)}{tries}"
        if run.failed > len(run.failures):
            yield f"  … and {run.failed - len(run.failures)} more"
    if not run.is_source_complete:
        yield "the input was not read to its end: what is left of it is in none of these counts"
    yield f"{run.failed} failed, {run.succeeded} ok, {run.unfinished} not run — exit {code}"
