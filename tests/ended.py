"""Ends of jobs, as the sinks of reports hear of them."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from dynamic_pipeline.attempts import Attempt, Failed, Succeeded
from dynamic_pipeline.events import JobFailed, JobRetrying, JobSucceeded, JobUnfinished
from dynamic_pipeline.jobs import Job
from dynamic_pipeline.records import Record
from dynamic_pipeline.reports import CommandReport
from dynamic_pipeline.spool import Spool

START_S = 1_700_000_000.25


def report(
    code: int = 0, *, stdout: bytes = b"", stderr: bytes = b"", is_timeout: bool = False
) -> CommandReport:
    """What an attempt at a command brought back; the output is small, so no file is left."""
    spools = []
    with tempfile.TemporaryDirectory() as folder:
        for name, text in (("out", stdout), ("err", stderr)):
            spool = Spool(f"{folder}/{name}")
            Path(os.fsdecode(spool.hand_out())).write_bytes(text)
            spool.seal()
            spools.append(spool)
    return CommandReport(spools[0], spools[1], 2, START_S, code, is_timeout)


def job(number: int = 17, raw: bytes = b"in/a", **facts: Any) -> Job:
    return Job(number, Record(raw, "in.txt", number + 1, **facts))


def succeeded(what: Job | None = None, value: Any = None, *, attempt: int = 1) -> JobSucceeded:
    return JobSucceeded(Attempt(what or job(), attempt), Succeeded(value, 0.125, "worker-01"))


def failed(error: str, what: Job | None = None, value: Any = None, *, attempt: int = 1) -> JobFailed:
    return JobFailed(Attempt(what or job(), attempt), Failed(error, 0.125, "worker-01", value=value))


def retrying(error: str, what: Job | None = None, value: Any = None, *, attempt: int = 1) -> JobRetrying:
    return JobRetrying(Attempt(what or job(), attempt), Failed(error, 0.125, "worker-01", value=value), 3)


def unfinished(what: Job | None = None, value: Any = None, *, has_run: bool = False) -> JobUnfinished:
    cut = Failed("ended by the forced stop", 0.125, "worker-01", is_interrupted=True, value=value)
    return JobUnfinished(what or job(), cut if has_run else None)


def describe(record: Record, number: int, slot: int) -> str:
    """A command or a call, as the sinks are told."""
    return f"work {record.raw!r} {number} {slot}"
