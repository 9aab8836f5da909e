"""Works and runs: which one is continued, and what is known of it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from typing import Literal, NamedTuple

from dynamic_pipeline.journal.numbers import first_of, last_of
from dynamic_pipeline.journal.operations import InputMark
from dynamic_pipeline.journal.queries import queries

Mode = Literal["run", "resume", "retry-failed"]


class Work(NamedTuple):
    """A task that jobs were accepted for."""

    work: int
    task: bytes  # the fingerprint
    parts: Mapping[str, str]  # what it was made of
    created_us: int


class NewRun(NamedTuple):
    """What is written down at the start of a run."""

    uuid: str
    task: bytes
    parts: Mapping[str, str]
    mode: Mode
    started_us: int
    host: str
    boot_id: str
    pid: int
    config: str = "{}"  # JSON, without secrets
    input: str = ""  # for people
    work: int | None = None  # to be continued; None begins a new one


class OpenRun(NamedTuple):
    """The run that writes."""

    run: int
    work: int
    jobs: int  # of the work, accepted before this run
    # What today's input may be compared with: if it is the same up to here, its records are the first jobs of the
    # work; None if no such place is known.
    input_mark: InputMark | None


def find_work(connection: sqlite3.Connection, task: bytes | None) -> Work | None:
    """The latest work on *task*, or the latest of all."""
    statement, values = ("newest_work", ()) if task is None else ("latest_work", (task,))
    row = connection.execute(queries()[statement], values).fetchone()
    return row and Work(row[0], row[1], json.loads(row[2]), row[3])


def begin_run(connection: sqlite3.Connection, new: NewRun) -> OpenRun:
    """Insert the run, and its work if that is new."""
    named, work, jobs, mark = queries(), new.work, 0, None
    if work is None:
        parts = json.dumps(dict(new.parts), ensure_ascii=True)
        values = {"task": new.task, "parts": parts, "now_us": new.started_us}
        work = connection.execute(named["new_work"], values).lastrowid
        assert work is not None
    else:
        limits = {"first": first_of(work), "last": last_of(work)}
        jobs = connection.execute(named["last_job"], limits).fetchone()[0]
        row = connection.execute(named["latest_mark"], (work,)).fetchone()
        mark = row and InputMark(*row)
    row_id = connection.execute(named["new_run"], {**new._asdict(), "work": work}).lastrowid
    assert row_id is not None
    return OpenRun(row_id, work, jobs, mark)


def earlier_runs(connection: sqlite3.Connection, run: OpenRun) -> list[str]:
    """The uuids of the runs before *run* on the same work. None of them lives: *run* holds the lock."""
    return [uuid for (uuid,) in connection.execute(queries()["earlier_runs"], (run.work, run.run))]


def open_jobs(connection: sqlite3.Connection, work: int) -> int:
    """How many jobs of *work* are not over."""
    limits = first_of(work), last_of(work)
    return int(connection.execute(queries()["open_jobs"], limits).fetchone()[0])


def is_over(connection: sqlite3.Connection, work: int, seq: int, attempt: int) -> bool:
    """Whether job *seq* is over, with *attempt* as its last one."""
    row = connection.execute(queries()["job_outcome"], (first_of(work) + seq,)).fetchone()
    return row is not None and row == (attempt,)
