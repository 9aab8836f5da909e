"""The one writing connection of a journal, and what it does with a batch of operations."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

from dynamic_pipeline.journal import operations as ops
from dynamic_pipeline.journal import place, schema
from dynamic_pipeline.journal.answers import LETTERS, Answer, Rejected
from dynamic_pipeline.journal.faults import JournalError, fault_of, opening_fault
from dynamic_pipeline.journal.intake import Intake
from dynamic_pipeline.journal.numbers import MOST_JOBS, first_of
from dynamic_pipeline.journal.prune import prune
from dynamic_pipeline.journal.queries import queries
from dynamic_pipeline.journal.recovery import Left, Recovery, look, recover
from dynamic_pipeline.journal.runs import NewRun, OpenRun, Work, begin_run, find_work
from dynamic_pipeline.journal.transactions import Transactions

Durability = Literal["full", "normal"]
# What a value of the wrong kind raises in the module itself, before SQLite sees it.
_DATA_ERRORS = (sqlite3.Error, ValueError, TypeError, OverflowError)


class _Careful(Exception):
    """Something in the batch is not as usual: do it again, one operation at a time."""


class Store:
    """Owns the connection. One thread at a time may call it; made by `open`, under a `JournalLock`.

    Order of use: `open`, `recover`, `begin_run`, then `apply` for each batch, then `close`.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self.transactions = Transactions(path, connection, self._forget)
        self._connection = connection
        self._intake: Intake | None = None
        self.run: OpenRun | None = None  # since `begin_run`
        self._handlers: dict[type, Callable[[Sequence[Any]], list[Answer]]] = {
            ops.Accept: lambda group: list(map(self._open_intake().accept, group)),
            ops.Skip: lambda group: list(map(self._open_intake().skip, group)),
            ops.Start: self._start,
            ops.Pid: self._note_pids,
            ops.Finish: self._finish,
            ops.Decide: lambda group: self._many("decide", [(self._numbers()[0], *op) for op in group]),
            ops.EndRun: self._end_run,
            ops.Reopen: self._reopen,
            ops.Pending: lambda group: list(map(self._open_intake().pending, group)),
            ops.Barrier: lambda group: [True] * len(group),
        }

    @classmethod
    def open(
        cls, path: Path, durability: Durability = "full", *, least_free: int = place.LEAST_FREE
    ) -> Store:
        """The journal at *path*, made if nothing or an empty file is there. *durability* full survives a power cut.

        Raises:
            JournalError: it cannot be used; nothing that is there was changed.
        """
        schema.check_sqlite()
        place.make_folder(path)
        is_there = place.look_at(path)
        place.check_writable(path, least_free=least_free)
        try:
            if not is_there:
                schema.create(path)
            schema.check(path)
            return cls(path, schema.opened(path, durability))
        except OSError as error:
            raise JournalError(f"{path}: cannot be made: {error.strerror}") from None
        except sqlite3.Error as error:
            raise opening_fault(error, path) from error

    def left(self) -> Left:
        """What runs that were killed have left open; deal with its orphans, then `recover`.

        Exact, because the caller holds the lock: whoever wrote that is dead.
        """
        return self.transactions.guarded(lambda: look(self._connection))

    def recover(self, now_us: int | None = None, *, forced: Collection[str] = ()) -> Recovery:
        """Close what `left` tells of, in one transaction; a second time it finds nothing. *forced* see `recovery`."""
        now_us = ops.now_us() if now_us is None else now_us
        return self.transactions.write(lambda: recover(self._connection, now_us, forced))

    def find_work(self, task: bytes | None = None) -> Work | None:
        """The latest work on *task*, or the latest of all; None if there is none."""
        return self.transactions.guarded(lambda: find_work(self._connection, task))

    def begin_run(self, new: NewRun) -> OpenRun:
        """Write down that a run begins. `input_mark` of the answer tells what of the input may be skipped.

        To skip it, begin with `Skip`; otherwise today's records are matched with the journal's one by one.
        """

        def begin() -> tuple[OpenRun, Intake]:
            run = begin_run(self._connection, new)
            return run, Intake(self._connection, run)

        self.run, self._intake = self.transactions.write(begin)
        return self.run

    def apply(self, batch: Sequence[ops.Operation]) -> list[Answer]:
        """Do all of *batch* in one transaction; an answer for each.

        An operation that SQLite does not take for its data is answered by `Rejected`, and the others are done.

        Raises:
            JournalStuck: nothing of it was done, and it may be tried again.
            JournalBroken: whether it was done is for the next opening to find out.
        """
        if all(type(op) is ops.Barrier for op in batch):
            return [True] * len(batch)
        self.transactions.check_place()
        try:
            return self.transactions.write(lambda: self._apply_at_once(batch))
        except (_Careful, *_DATA_ERRORS):  # faults of the file have become JournalErrors
            return self.transactions.write(lambda: self._apply_one_by_one(batch))

    def prune(self, *, before_us: int, keep_runs: int) -> int:
        """Forget works that are over and old; see `prune.prune`. Not during a run."""
        return prune(self.transactions, before_us=before_us, keep_runs=keep_runs)

    def close(self) -> None:
        """Move all into the one file, and close it. The connection is gone whatever happens.

        Raises:
            JournalError: the last step failed; what was committed is there all the same, in the `-wal` file.
        """
        try:
            self.transactions.guarded(lambda: self._execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall())
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Close the connection without another word, as after a fault."""
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()

    def _forget(self) -> None:
        if self._intake is not None:
            self._intake.forget()

    def _execute(self, statement: str, values: Any = ()) -> sqlite3.Cursor:
        return self._connection.execute(statement, values)

    def _apply_at_once(self, batch: Sequence[ops.Operation]) -> list[Answer]:
        answers: list[Answer] = []
        intake = self._open_intake()
        intake.begin()
        for kind, group in groupby(batch, type):
            answers += self._handlers[kind](list(group))
        intake.write_mark()
        return answers

    def _apply_one_by_one(self, batch: Sequence[ops.Operation]) -> list[Answer]:
        answers: list[Answer] = []
        intake = self._open_intake()
        intake.begin()
        for op in batch:
            with self._savepoint(intake) as culprit:
                answers += self._handlers[type(op)]([op])
            if culprit:
                answers.append(Rejected(culprit[0]))
        intake.write_mark()
        return answers

    @contextlib.contextmanager
    def _savepoint(self, intake: Intake) -> Iterator[list[str]]:
        """Undo what is inside if its data does not fit; the list then tells why."""
        culprit: list[str] = []
        before = intake.place
        self._execute("SAVEPOINT one")
        try:
            yield culprit
        except _DATA_ERRORS as error:
            if isinstance(error, sqlite3.Error) and fault_of(error, self.path) is not None:
                raise
            self._execute("ROLLBACK TO one")
            intake.place = before
            culprit.append(f"{type(error).__name__}: {error}")
        self._execute("RELEASE one")

    # --- one method per operation, for a group of them ---

    def _start(self, group: Sequence[ops.Start]) -> list[Answer]:
        run, first = self._numbers()
        return self._many(
            "start",
            [
                (number, run, worker, is_alone, started_us, first + seq)
                for seq, number, started_us, worker, is_alone in group
            ],
        )

    def _note_pids(self, group: Sequence[ops.Pid]) -> list[Answer]:
        run, first = self._numbers()
        return self._many(
            "note_pid", [(op.pid, op.pid_start, first + op.seq, op.number, run) for op in group]
        )

    def _finish(self, group: Sequence[ops.Finish]) -> list[Answer]:
        run, first = self._numbers()
        answers = self._many("finish_attempt", [(*op, run, first) for op in group])
        jobs = [
            (LETTERS[state], 1, first + op.seq)
            for op, is_done in zip(group, answers, strict=True)
            if is_done and (state := op.state) is not None
        ]
        self._connection.executemany(queries()["finish_job"], jobs)
        return answers

    def _many(self, name: str, rows: list[tuple[Any, ...]]) -> list[Answer]:
        """Change exactly one row by each of *rows*, or tell for a single one that it changed none: the fence."""
        changed = self._connection.executemany(queries()[name], rows).rowcount
        if changed == len(rows):
            return [True] * changed
        if len(rows) > 1:
            raise _Careful
        return [False]

    def _end_run(self, group: Sequence[ops.EndRun]) -> list[Answer]:
        run, first = self._numbers()
        answers: list[Answer] = []
        for op in group:
            row = op.ended_us, op.exit_code, op.succeeded, op.failed, op.held, op.unfinished, run
            answers.append(self._execute(queries()["end_run"], row).rowcount == 1)
            values = {"ended_us": op.ended_us, "run": run, "first": first, "last": first + MOST_JOBS}
            self._execute(queries()["close_attempts"], values)
        return answers

    def _reopen(self, group: Sequence[ops.Reopen]) -> list[Answer]:
        _, first = self._numbers()
        limits = first, first + MOST_JOBS
        return [self._execute(queries()["reopen"], (*limits, LETTERS[op.state])).rowcount for op in group]

    def _open_intake(self) -> Intake:
        assert self._intake is not None, "begin_run comes first"
        return self._intake

    def _numbers(self) -> tuple[int, int]:
        """Of the run, and the one below its work's first job."""
        assert self.run is not None, "begin_run comes first"
        return self.run.run, first_of(self.run.work)
