"""The end of a run as one JSON object, for programs."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from dynamic_pipeline.events import JobFailed
from dynamic_pipeline.records import Record
from dynamic_pipeline.summary import Summary
from dynamic_pipeline.views.endings import readable

_LONGEST_RECORD = 200  # characters


def summary_fields(
    run: Summary, run_id: str, code: int, started: datetime, elapsed_s: float
) -> dict[str, Any]:
    """How the run went; *code* is what the program leaves with."""
    return {
        "run": run_id,
        "exit_code": code,
        "accepted": run.accepted,
        "succeeded": run.succeeded,
        "failed": run.failed,
        "unfinished": run.unfinished,
        "retries": run.retries,
        "is_source_complete": run.is_source_complete,
        "started": started.isoformat(timespec="milliseconds"),
        "elapsed_s": round(elapsed_s, 3),
        "error": None if run.error is None else readable(str(run.error) or repr(run.error)),
        "causes": {readable(cause): count for cause, count in run.causes.items()},
        "failed_jobs": [_failed_job(failure) for failure in run.failures],  # the first 1000
    }


def _failed_job(failure: JobFailed) -> dict[str, Any]:
    (job, number), outcome = failure
    place = (
        {"source": readable(job.payload.source), "line": job.payload.line}
        if isinstance(job.payload, Record)
        else {}
    )
    record = readable(str(job.payload)[:_LONGEST_RECORD])
    return {"job": job.id, **place, "record": record, "error": readable(outcome.error), "attempts": number}
