"""The end of a run, as text: what failed and why, how to run it again, and one greppable last line."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence

from dynamic_pipeline.events import JobFailed
from dynamic_pipeline.records import Record
from dynamic_pipeline.reports import TAIL_BYTES, CommandTail
from dynamic_pipeline.stats import OTHER_CAUSES, cause_of
from dynamic_pipeline.summary import Summary
from dynamic_pipeline.views.endings import shortened, tail_lines
from dynamic_pipeline.views.escape import escape

_LISTED = 20  # jobs of a group
_WITH_OUTPUT = 3  # of them


def summary_lines(
    run: Summary, code: int, elapsed_s: float, *, again: Sequence[str] = (), problems: Sequence[str] = ()
) -> Iterator[str]:
    """The failures by their cause, the counts. *again*: how to run what failed; *problems* of the run itself."""
    yield from _failures(run)
    if not run.is_source_complete:
        yield "the input was not read to its end: what is left of it is in none of these counts"
    retries = "1 retry" if run.retries == 1 else f"{run.retries} retries"
    yield f"{run.succeeded} ok in {duration(elapsed_s)}, {retries}"
    yield from _earlier(run)
    if run.cut_short:
        yield f"{run.cut_short} of those not run had begun, and were ended"
    yield from again
    yield from problems
    if run.signal is not None:
        yield f"stopped by {signal.Signals(run.signal).name}"
    failed, ok = run.failed + run.failed_before + run.held, run.succeeded + run.succeeded_before
    yield f"{failed} failed, {ok} ok, {run.unfinished} not run — exit {code}"


def _earlier(run: Summary) -> Iterator[str]:
    """What a resumed run has found done; the last line counts it too."""
    if run.succeeded_before:
        yield f"{run.succeeded_before} had been done before"
    if run.failed_before:
        yield f"{run.failed_before} had failed before; --retry-failed tries again"
    if run.held:
        yield f"{run.held} held: they took the whole run down with them; --retry-failed tries again"
    if run.missing:
        yield f"{run.missing} accepted by an earlier run, and not in today's input, were run too"


def duration(elapsed_s: float) -> str:
    """`1.2s`, `2m05s`, `3h07m`"""
    if elapsed_s < 59.95:  # noqa: PLR2004 - what is shown as less than a minute
        return f"{elapsed_s:.1f}s"
    minutes, seconds = divmod(round(elapsed_s), 60)
    return f"{minutes}m{seconds:02}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02}m"  # noqa: PLR2004


def _failures(run: Summary) -> Iterator[str]:
    groups: dict[str, list[JobFailed]] = {cause: [] for cause in run.causes}
    for failure in run.failures:
        cause = cause_of(failure.outcome.error)
        groups[cause if cause in groups else OTHER_CAUSES].append(failure)
    for cause in sorted(groups, key=lambda cause: -run.causes[cause]):  # of the same size: who came first
        count = run.causes[cause]
        yield f"FAILED {escape(cause)}: {count} job{'s' * (count != 1)}"
        listed = sorted(groups[cause], key=lambda failure: failure.attempt.job.id)[:_LISTED]
        for number, failure in enumerate(listed):
            yield from _failure(failure, cause, with_output=number < _WITH_OUTPUT)
        if count > len(listed):
            yield f"  … and {count - len(listed)} more"


def _failure(failure: JobFailed, cause: str, *, with_output: bool) -> Iterator[str]:
    (job, number), outcome = failure
    record = job.payload
    where = f"{escape(record.source)}:{record.line}  " if isinstance(record, Record) else ""
    why = "" if outcome.error == cause else f"  {escape(outcome.error)}"
    tries = f"  (after {number} tries)" if number > 1 else ""
    yield f"  job {job.id}  {where}{shortened(str(record))}{why}{tries}"
    if with_output and isinstance(outcome.value, CommandTail):
        text = outcome.value.text
        for line in tail_lines(text, is_cut=len(text) == TAIL_BYTES):
            yield f"      {line}"
