"""What the journal's tests share: a store with jobs in it, made and looked at in few words."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dynamic_pipeline.journal.answers import Accepted
from dynamic_pipeline.journal.identity import job_key, task_fingerprint
from dynamic_pipeline.journal.operations import Accept, InputMark, NewJob
from dynamic_pipeline.journal.runs import Mode, NewRun
from dynamic_pipeline.journal.store import Durability, Store

PARTS = {"kind": "command", "text": "echo {}"}
TASK = task_fingerprint(PARTS)


def new_run(uuid: str = "run-1", mode: Mode = "run", work: int | None = None, **others: Any) -> NewRun:
    return NewRun(uuid, TASK, PARTS, mode, 1_000_000, "host", "boot", 42, **others)._replace(work=work)


def open_store(path: Path, durability: Durability = "normal") -> Store:
    return Store.open(path, durability, least_free=0)


def begun(path: Path, *payloads: bytes) -> Store:
    """A store with a first run, and a job for each payload."""
    store = open_store(path)
    store.begin_run(new_run())
    if payloads:
        store.apply([accept(payloads)])
    return store


def resumed(path: Path, uuid: str = "run-2") -> Store:
    """The store, opened again after a kill or an end, with a run that continues its latest work."""
    store = open_store(path)
    store.recover()
    work = store.find_work(TASK)
    assert work is not None
    store.begin_run(new_run(uuid, "resume", work.work))
    return store


def job_of(payload: bytes) -> NewJob:
    return NewJob.of(job_key(TASK, payload), payload, source="in.txt", line=1)


def accept(payloads: Iterable[bytes], mark: InputMark | None = None) -> Accept:
    return Accept(tuple(job_of(payload) for payload in payloads), mark)


def seqs(answer: object) -> list[int]:
    assert isinstance(answer, list)
    return [accepted.seq for accepted in answer if isinstance(accepted, Accepted)]


def rows(path: Path, statement: str, *values: object) -> list[tuple[Any, ...]]:
    """What a statement finds, on a connection of its own."""
    connection = sqlite3.connect(path)
    try:
        return connection.execute(statement, values).fetchall()
    finally:
        connection.close()


def is_sound(path: Path) -> bool:
    """SQLite finds nothing wrong, and neither do the rules that its constraints cannot say."""
    return (
        rows(path, "PRAGMA integrity_check") == [("ok",)]
        and rows(path, "PRAGMA foreign_key_check") == []
        # A job that is over has been told so by exactly one attempt, and has no open one.
        and rows(
            path,
            "SELECT job FROM jobs WHERE (state = 'S') != (SELECT count(*) FROM attempts"
            " WHERE attempts.job = jobs.job AND outcome = 'succeeded')",
        )
        == []
        and rows(
            path,
            "SELECT job FROM jobs JOIN attempts USING(job) WHERE outcome IS NULL AND state NOT IN ('Q', 'R')",
        )
        == []
    )


def crash(name: str, error: BaseException) -> None:
    """In the place of a run that hears of a dead thread."""
    raise AssertionError(f"{name} died") from error
