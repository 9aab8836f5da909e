"""The journal of a run from the command line: opened, put in order after a kill, and closed with the verdict."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import socket
from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Thread

from pipeline_config import Loaded, chosen_values

from dynamic_pipeline.cli.left_behind import SHOWN, mark_forced, put_in_order
from dynamic_pipeline.cli.request import Request
from dynamic_pipeline.errors import UsageError
from dynamic_pipeline.jobs import JobState
from dynamic_pipeline.journal import identity
from dynamic_pipeline.journal.answers import StoredJob
from dynamic_pipeline.journal.faults import JournalError
from dynamic_pipeline.journal.lock import JournalLock
from dynamic_pipeline.journal.operations import EndRun, NewJob, Pid, Reopen, now_us
from dynamic_pipeline.journal.processes import boot_id, start_tick
from dynamic_pipeline.journal.runs import NewRun, OpenRun, earlier_runs, is_over, open_jobs
from dynamic_pipeline.journal.store import Store
from dynamic_pipeline.journal.writer import JournalWriter
from dynamic_pipeline.lifecycle import INTERNAL, IO_FAULT, READER_GONE, USAGE
from dynamic_pipeline.records import Record
from dynamic_pipeline.sources.journal_line import JournalLine
from dynamic_pipeline.sources.journaled import JournaledSource
from dynamic_pipeline.stop import Stop
from dynamic_pipeline.summary import Summary

_LEAVING_S = 0.2


def parts_of(request: Request, record_format: str) -> dict[str, str]:
    """What the work is, in parts that people can compare."""
    if request.call is not None:
        kind, text = "call", request.call
    elif request.shell_command is not None:
        kind, text = "shell", request.shell_command
    elif request.is_lines:
        kind, text = "lines", ""
    else:
        kind, text = "command", shlex.join(request.command)
    separator = "NUL" if request.is_null_separated else ""
    return identity.task_parts(
        kind, text, cwd=str(Path.cwd()), record_format=record_format, others={"separator": separator}
    )


class Journal(JournalLine):
    """An open journal, with the lock and the thread that writes it."""

    def __init__(
        self,
        lock: JournalLock,
        store: Store,
        task: bytes,
        run_id: str,
        record_format: str,
        notes: list[str],
        *,
        is_resumed: bool,
    ) -> None:
        super().__init__()
        self._run_id = run_id
        self.is_resumed = is_resumed  # an earlier run was found
        self._format = record_format
        self._lock = lock
        self._store = store
        self._task = task
        self.notes = notes  # for the log: what an earlier run had left
        self.writer = JournalWriter(
            store,
            on_crash=self._crash,
            on_trouble=lambda text: self.tell(f"the journal waits: {text}"),
            on_recovered=lambda: self.tell("the journal goes on"),
        )

    def _crash(self, thread: str, error: BaseException) -> None:
        self.crashed(thread, error)

    @property
    def path(self) -> Path:
        return self._store.path

    def begin(self, *, retry_failed: bool) -> None:
        """Start the thread that writes; with *retry_failed* what failed, or is held, is open again."""
        self.writer.start()
        if retry_failed:
            self.writer.post(Reopen(JobState.FAILED))
            self.writer.post(Reopen(JobState.HELD))

    def abandon(self) -> None:
        """There will be no run after all: this one has ended, and was not killed."""
        with contextlib.suppress(JournalError):
            self._store.apply([EndRun(USAGE, 0, 0, 0, 0, now_us())])
        self._store.abandon()
        self._lock.release()

    def leave(self) -> None:
        """The process is about to leave at once, because its user said so: no job is to blame for that."""
        writing = Thread(
            target=self._mark_forced, daemon=True
        )  # a disk that does not answer must not hold us
        writing.start()
        writing.join(_LEAVING_S)

    def _mark_forced(self) -> None:
        with contextlib.suppress(OSError):
            mark_forced(self._store.path, self._run_id)

    def is_over(self, seq: int, attempt: int) -> bool:
        """Whether an earlier run has recorded *attempt* as the last one of a job. Before `begin`."""
        run, transactions = self._open_run(), self._store.transactions
        return transactions.guarded(lambda: is_over(transactions.connection, run.work, seq, attempt))

    def earlier_runs(self) -> list[str]:
        """The ids of the runs that this one goes on with, all of which have ended. Before `begin`."""
        run, transactions = self._open_run(), self._store.transactions
        return transactions.guarded(lambda: earlier_runs(transactions.connection, run))

    def _open_run(self) -> OpenRun:
        assert self._store.run is not None, "it was begun when the journal was opened"
        return self._store.run

    def source_of(self, records: Iterable[Record], stop: Stop) -> JournaledSource:
        """*records* as jobs of this run."""

        def new_job(record: Record) -> NewJob:
            return NewJob.of(
                self.key_of(record),
                record.raw,
                source=record.source,
                line=record.line,
                problem=record.problem,
                record_format=self._format,
                fields=None if record.fields is None else json.dumps(record.fields, ensure_ascii=True),
            )

        def restore(job: StoredJob) -> Record:
            fields = None if job.fields is None else json.loads(job.fields)
            return Record(job.payload, job.source, job.line, job.problem, fields)

        known = self._open_run().input_mark
        self.source = JournaledSource(records, self.writer, new_job, restore, stop, known)
        return self.source

    def key_of(self, record: Record) -> bytes:
        return identity.job_key(self._task, record.raw)

    def note_pid(self, seq: int, number: int, pid: int) -> None:
        """A command has been started. Any worker's thread."""
        self.writer.post(Pid.of(seq, number, pid, start_tick(pid)))

    def finish(self, summary: Summary, code: int, timeout_s: float | None) -> tuple[int, list[str]]:
        """Write down how it ended, and close; the exit code, another one if that failed, and what to tell."""
        counts = summary.succeeded, summary.failed, summary.held, summary.unfinished
        answers: list[object] = []
        self.writer.post(EndRun(code, *counts, now_us()), answers.append)
        if timeout_s is not None:
            self.writer.hurry()
        has_ended = self.writer.close(timeout_s)
        error = self.writer.error or (
            None if has_ended else JournalError("the journal does not come to an end")
        )
        if error is None and answers != [True]:
            error = JournalError(f"the end of the run was not recorded: {answers}")
        if error is None:
            self._lock.release()
            return code, []
        told = [f"journal: {error}"]
        if numbers := self.gate.unrecorded if self.gate is not None else []:
            first = ", ".join(map(str, numbers[:SHOWN])) + (", …" if len(numbers) > SHOWN else "")
            told.append(f"executed, not recorded: {len(numbers)} jobs ({first}); they will run again")
        return (code if code in {INTERNAL, READER_GONE} else IO_FAULT), told


def open_journal(
    request: Request,
    loaded: Loaded,
    run_id: str,
    record_format: str,
    *,
    stop_signal: Callable[[], int],
    tell: Callable[[str], object],
) -> Journal:
    """Lock and open the journal, and put in order what a killed run has left.

    That may take long with `--orphans wait`: *tell* hears of it, and a *stop_signal* ends it.

    Raises:
        JournalError: it cannot be used, or another run holds it. UsageError: `--resume` of other work.
        StoppedEarly: by *stop_signal*; the next run finds what this one has found.
    """
    settings = loaded.settings
    path = Path(os.path.abspath(settings.journal.state_dir)) / "journal.db"  # noqa: PTH100 - as it was given
    durability = settings.journal.durability
    assert durability != "off", "then there is none"
    lock = JournalLock(path)
    lock.acquire()
    try:
        store = Store.open(path, durability)
        notes = put_in_order(store, settings, stop_signal, tell)
        parts = parts_of(request, record_format)
        task = identity.task_fingerprint(parts)
        work = _work_to_resume(store, task, parts) if request.is_resumed else None
        notes += [] if request.is_resumed else _abandoned(store, task)
        new = NewRun(
            uuid=run_id,
            task=task,
            parts=parts,
            mode="retry-failed" if request.retries_failed else "resume" if request.is_resumed else "run",
            started_us=now_us(),
            host=socket.gethostname(),
            boot_id=boot_id(),
            pid=os.getpid(),
            config=json.dumps(chosen_values(loaded)),
            input=" ".join(request.inputs or ("-",)),
            work=work,
        )
        run = store.begin_run(new)
    except BaseException:
        lock.release()
        raise
    if work is not None:
        notes.append(f"resuming: {run.jobs} jobs of earlier runs are known")
    return Journal(lock, store, task, run_id, record_format, notes, is_resumed=work is not None)


def _abandoned(store: Store, task: bytes) -> list[str]:
    """A warning where a fresh start leaves accepted records undone for good."""
    if (work := store.find_work(task)) is None:
        return []
    left = store.transactions.guarded(lambda: open_jobs(store.transactions.connection, work.work))
    if not left:
        return []
    text = f"warning: {left} records of an earlier run of this command are not done, and this run begins anew"
    return [f"{text}; --resume would go on with them"]


def _work_to_resume(store: Store, task: bytes, parts: dict[str, str]) -> int | None:
    """The latest work on the same task; None where the journal is empty.

    Raises:
        UsageError: there is other work only.
    """
    if (work := store.find_work(task)) is not None:
        return work.work
    if (other := store.find_work()) is None:
        return None
    differences = "; ".join(identity.differences(other.parts, parts))
    raise UsageError(
        f"--resume: the journal has no such work; the latest differs in its {differences}",
        hint="leave out --resume to begin it, or choose another --state-dir",
    )
