"""A finished job → a line of JSON: what it was, how it ended, and each of its attempts."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

from dynamic_pipeline.attempts import Outcome, Succeeded
from dynamic_pipeline.jobs import Job, JobState
from dynamic_pipeline.records import Record
from dynamic_pipeline.reports import CallReport, CommandReport
from dynamic_pipeline.views.endings import Describe, described, ending, readable


def attempt_fields(outcome: Outcome, now_s: float) -> dict[str, Any]:
    """One attempt; calls have neither exit nor signal."""
    end = ending(outcome, now_s)
    fields: dict[str, Any] = {"started": round(end.started_s, 6), "elapsed_s": round(end.elapsed_s, 6)}
    if isinstance(outcome.value, CommandReport):
        fields |= {"exit": end.exit, "signal": end.signal}
    return fields | {"error": None if isinstance(outcome, Succeeded) else readable(outcome.error)}


def result_line(
    job: Job,
    state: JobState,
    outcome: Outcome | None,
    attempts: Sequence[dict[str, Any]],
    describe: Describe,
    now_s: float,
) -> bytes:
    """The line of *job*, which ended as *state*. *outcome* is that of what ran last, None if nothing ran.

    A record that is no UTF-8 is escaped for reading, with all its bytes beside it.
    """
    record: Record = job.payload
    fields: dict[str, Any] = {"job": job.id, "source": readable(record.source), "line": record.line}
    text = record.text
    fields["record"] = readable(text)
    if fields["record"] is not text:
        fields["record_base64"] = base64.b64encode(record.raw).decode()
    fields["state"] = state
    end = None if outcome is None else ending(outcome, now_s)
    fields["reason"] = "not_started" if end is None else end.reason
    fields["error"] = readable(outcome.error) if outcome and not isinstance(outcome, Succeeded) else None
    value = None if outcome is None else outcome.value
    if isinstance(value, CommandReport) and end is not None:
        fields |= {"exit": end.exit, "signal": end.signal}
        fields |= {"stdout_bytes": value.stdout.size, "stderr_bytes": value.stderr.size}
        fields["command"] = readable(described(describe, record, job.id, value.slot))
    fields["attempts"] = attempts
    line = json.dumps(fields)
    if isinstance(value, CallReport):  # encoded by the worker that called
        line = f'{line[:-1]}, "value": {value.json}}}'
    return line.encode() + b"\n"
