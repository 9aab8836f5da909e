"""Looks into a journal without changing it, also while a run writes to it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, Self

from dynamic_pipeline.jobs import JobState
from dynamic_pipeline.journal import place, schema
from dynamic_pipeline.journal.answers import STATES
from dynamic_pipeline.journal.faults import JournalError, opening_fault
from dynamic_pipeline.journal.numbers import first_of, last_of, seq_of
from dynamic_pipeline.journal.operations import Decide
from dynamic_pipeline.journal.queries import queries
from dynamic_pipeline.journal.readable import is_damage
from dynamic_pipeline.journal.runs import Work, find_work

_HAS_DECISIONS = 2  # the version since which they are kept


class RunLine(NamedTuple):
    """A start of the program, as it was written down."""

    run: int
    uuid: str
    work: int
    mode: str
    started_us: int
    ended_us: int | None  # None: it runs, or was killed and nobody has opened the journal for writing since
    outcome: str | None  # ended, crashed or None
    exit_code: int | None
    succeeded: int | None
    failed: int | None
    held: int | None
    unfinished: int | None
    host: str
    pid: int
    input: str


class LostJob(NamedTuple):
    """A job that failed for good, or is held."""

    seq: int
    state: JobState
    attempts: int
    interruptions: int
    payload: bytes
    source: str
    line: int
    error: str | None  # of its last attempt
    exit_code: int | None
    signal: int | None


class Reader:
    """A read-only connection; each question is a short transaction of its own, so that it never holds up a writer."""

    def __init__(self, path: Path, connection: sqlite3.Connection, version: int = schema.VERSION) -> None:
        self._path = path
        self._connection = connection
        self._version = version

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> Iterator[Self]:
        """The journal at *path*, for as long as the block lasts.

        Raises:
            JournalError: there is none, or it cannot be read.
        """
        if not place.look_at(path):
            raise JournalError(
                f"{path}: there is no journal", hint="a run makes one, unless --durability off"
            )
        try:
            connection = schema.connect(path, "ro")
        except sqlite3.Error as error:
            raise opening_fault(error, path) from error
        try:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if not 1 <= version <= schema.VERSION:
                raise JournalError(f"{path}: has format {version}, this program reads 1 to {schema.VERSION}")
            connection.execute("PRAGMA query_only = ON")
            yield cls(path, connection, version)
        except sqlite3.Error as error:
            raise opening_fault(error, path) from error
        finally:
            connection.close()

    def runs(self, most: int = 20) -> list[RunLine]:
        """The latest *most* runs, the newest first."""
        return [RunLine(*row) for row in self._connection.execute(queries()["runs"], (most,))]

    def find_work(self, task: bytes | None = None) -> Work | None:
        """The latest work on *task*, or the latest of all."""
        return find_work(self._connection, task)

    def counts(self, work: int, *, has_run_ended: bool = False) -> dict[JobState, int]:
        """How many jobs of *work* are in each state. After its run, those that are not over are `unfinished`."""
        counts = dict.fromkeys(JobState, 0)
        limits = {"first": first_of(work), "last": last_of(work)}
        for letter, count, running in self._connection.execute(queries()["counts"], limits):
            counts[STATES[letter]] += count - running
            counts[JobState.RUNNING] += running
        if has_run_ended:
            for state in (JobState.QUEUED, JobState.RUNNING, JobState.RETRYING):
                counts[JobState.UNFINISHED] += counts[state]
                counts[state] = 0
        return counts

    def attempts(self, run: int) -> dict[str, int]:
        """How many attempts of *run* had each outcome; `running` are open, or were when it was killed."""
        return dict(self._connection.execute(queries()["attempts_of_run"], (run,)).fetchall())

    def counts_of_run(self, run: RunLine) -> dict[str, int]:
        """What a run that is over has done itself, as its work may have gone on since; empty while it is not over."""
        if run.ended_us is None:
            return {}
        if run.outcome != "crashed":
            return {
                "succeeded": run.succeeded or 0,
                "failed": run.failed or 0,
                "unfinished": run.unfinished or 0,
            }
        attempts = self.attempts(run.run)
        (failed,) = self._connection.execute(queries()["failed_in_run"], (run.run,)).fetchone()
        succeeded, cut_short = attempts.get("succeeded", 0), attempts.get("interrupted", 0)
        return {"succeeded": succeeded, "failed": failed, "unfinished": cut_short}

    def decisions(self, run: int, *, after: int = 0, most: int = 1000) -> list[Decide]:
        """What the policy decided in *run*, *most* of the looks behind *after*, in order; a look stands until the next."""
        if self._version < _HAS_DECISIONS:
            return []
        return [Decide(*row) for row in self._connection.execute(queries()["decisions"], (run, after, most))]

    def failed(self, work: int, *, after: int = 0, most: int = 1000) -> list[LostJob]:
        """Jobs of *work* that failed or are held, *most* of those with a number above *after*, in order."""
        rows = self._connection.execute(queries()["lost_jobs"], (first_of(work) + after, last_of(work), most))
        return [LostJob(seq_of(job), STATES[letter], *rest) for job, letter, *rest in rows]

    def backup(self, target: Path) -> None:
        """Write a copy, one complete file, to *target*, which must not exist.

        Raises:
            JournalError: it cannot be written.
        """
        if target.exists():
            raise JournalError(f"{target}: exists already")
        try:
            self._connection.execute("PRAGMA query_only = OFF")  # the connection itself stays read-only
            self._connection.execute("VACUUM INTO ?", (str(target),))
            target.chmod(0o600)
        except (sqlite3.Error, OSError) as error:
            with suppress(OSError):  # a part of a copy is none
                target.unlink()
            if isinstance(error, sqlite3.Error) and is_damage(error):
                raise opening_fault(error, self._path) from error
            raise JournalError(f"{target}: cannot be written: {error}") from error
        finally:
            self._connection.execute("PRAGMA query_only = ON")
