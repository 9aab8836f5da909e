"""Every operation of the journal fails once: nothing is half done, nothing is lost, nothing is done twice."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from dynamic_pipeline.journal import schema
from dynamic_pipeline.journal.answers import Answer
from dynamic_pipeline.journal.faults import JournalBroken, JournalStuck
from dynamic_pipeline.journal.operations import EndRun, Finish, InputMark, Operation, Pending, Pid, Start
from dynamic_pipeline.journal.store import Store

from tests.journaling import TASK, accept, begun, is_sound, new_run, open_store, rows


class Faulty:
    """A connection whose *fail_at*-th call fails, before it does anything."""

    def __init__(self, connection: sqlite3.Connection, fail_at: int, code: int) -> None:
        self._connection, self._fail_at, self._code = connection, fail_at, code
        self.calls = 0

    def _count(self) -> None:
        self.calls += 1
        if self.calls == self._fail_at:
            error = sqlite3.OperationalError("made to fail")
            error.sqlite_errorcode, error.sqlite_errorname = self._code, "MADE"
            raise error

    def execute(self, statement: str, values: Any = ()) -> sqlite3.Cursor:
        self._count()
        return self._connection.execute(statement, values)

    def executemany(self, statement: str, values: Iterable[Any]) -> sqlite3.Cursor:
        self._count()
        return self._connection.executemany(statement, values)

    def close(self) -> None:
        self._connection.close()

    @property
    def in_transaction(self) -> bool:
        return self._connection.in_transaction


def faulty(path: Path, fail_at: int, code: int) -> tuple[Store, Faulty]:
    connection = Faulty(schema.opened(path, "normal"), fail_at, code)
    return Store(path, connection), connection  # type: ignore[arg-type]


BATCHES: list[
    list[Operation]
] = [  # on a work of two jobs, a and b, of which a was running when it was killed
    [accept([b"b", b"c"], InputMark(0, 4, 2, b"d1")), accept([b"a"], InputMark(0, 6, 3, b"d2"))],
    [Start.of(1, 1), Start.of(2, 1), Pid(1, 1, 11, 22)],
    [Finish.of(1, 1, "succeeded", result="1"), Finish.of(9, 1, "succeeded"), Start(3, 0, 0), Start.of(3, 1)],
    [Finish.of(2, 1, "failed", will_retry=True, error="no"), accept([b"d"]), Pending(0, 10)],
    [Start.of(2, 2), Finish.of(2, 2, "failed", error="no"), Finish.of(3, 1, "interrupted")],
    [EndRun(1, 1, 1, 0, 2, ended_us=5)],
]
CONTENT = (
    "SELECT job, job_key, state, attempts, interruptions FROM jobs ORDER BY job",
    "SELECT job, number, run, outcome, error, result, pid FROM attempts ORDER BY job, number, run",
    "SELECT run, work, outcome, exit_code, mark_offset, mark_records FROM runs ORDER BY run",
)


def content(path: Path) -> list[object]:
    return [rows(path, statement) for statement in CONTENT]


def killed_journal(path: Path) -> None:
    store = begun(path, b"a", b"b")
    store.apply([Start.of(1, 1)])
    store.close()


def story(store: Store, progress: list[Answer] | None = None) -> None:
    """All of a resumed run; a stuck journal is tried again, as its thread does."""

    def persist(do: Any) -> Any:
        try:
            return do()
        except JournalStuck:
            return do()

    persist(store.recover)
    work = persist(lambda: store.find_work(TASK))
    persist(lambda: store.begin_run(new_run("run-2", "resume", work.work)))
    for batch in BATCHES:
        answers = persist(lambda batch=batch: store.apply(batch))
        if progress is not None:
            progress.append(answers)


def told(path: Path) -> tuple[list[Answer], list[object], int]:
    """What an undisturbed run answers and leaves, and how many calls it makes."""
    killed_journal(path)
    store, connection = faulty(path, 0, 0)
    answers: list[Answer] = []
    story(store, answers)
    store.close()
    return answers, content(path), connection.calls


def test_whatever_fails_for_want_of_space_is_done_once_when_it_is_tried_again(tmp_path: Path) -> None:
    """For every call: the same answers and the same content as without the failure."""
    answers, expected, calls = told(tmp_path / "whole.db")
    killed_journal(tmp_path / "before.db")

    for fail_at in range(1, calls):  # the last one is the checkpoint at the end
        path = tmp_path / "journal.db"
        shutil.copy(tmp_path / "before.db", path)
        store, connection = faulty(path, fail_at, sqlite3.SQLITE_FULL)
        progress: list[Answer] = []
        story(store, progress)
        store.abandon()

        assert connection.calls > fail_at
        assert (fail_at, answers) == (fail_at, progress)
        assert (fail_at, expected) == (fail_at, content(path))
        assert is_sound(path)
    assert 40 < calls


def test_whatever_breaks_the_journal_leaves_whole_batches(tmp_path: Path) -> None:
    """For every call: what was answered is there, what was not is either all there or not at all."""
    _, _, calls = told(tmp_path / "whole.db")
    killed_journal(tmp_path / "before.db")
    prefixes = []
    for count in range(len(BATCHES) + 1):
        path = tmp_path / f"prefix-{count}.db"
        shutil.copy(tmp_path / "before.db", path)
        store = open_store(path)
        store.recover()
        store.begin_run(new_run("run-2", "resume", 1))
        for batch in BATCHES[:count]:
            store.apply(batch)
        store.close()
        prefixes.append(content(path))

    undisturbed = 0
    for fail_at in range(1, calls):
        path = tmp_path / "journal.db"
        shutil.copy(tmp_path / "before.db", path)
        store, _ = faulty(path, fail_at, sqlite3.SQLITE_IOERR_FSYNC)
        progress: list[Answer] = []
        with suppress(JournalBroken):
            story(store, progress)
        has_begun = store.run is not None
        undisturbed += len(progress) == len(BATCHES)
        store.abandon()

        assert is_sound(path)
        if has_begun:
            assert (fail_at, prefixes[len(progress)]) == (fail_at, content(path))
    assert 1 == undisturbed  # where a rollback failed whose transaction was to be repeated anyway


def test_a_log_that_was_cut_anywhere_holds_a_clean_prefix(tmp_path: Path) -> None:
    """Every length of the WAL: exactly the batches that fit into it, and SQLite finds nothing wrong."""
    path = tmp_path / "journal.db"
    store = begun(path)
    store._execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    store._execute("PRAGMA wal_autocheckpoint = 0")
    wal = Path(f"{path}-wal")
    ends = []
    for number in range(1, 25):
        store.apply([accept([b"%d" % number * 200]), Start.of(number, 1), Finish.of(number, 1, "succeeded")])
        ends.append(wal.stat().st_size)
    whole, base = wal.read_bytes(), path.read_bytes()
    store.abandon()

    rng = random.Random(7)
    frame = 4096 + 24
    lengths = {32 + frame * n + by for n in range(len(whole) // frame + 1) for by in (-1, 0, 1)}
    lengths |= {rng.randrange(len(whole)) for _ in range(60)}
    copy = tmp_path / "copy" / "journal.db"
    copy.parent.mkdir()
    for length in sorted(lengths):
        copy.write_bytes(base)
        copy.chmod(0o600)
        Path(f"{copy}-wal").write_bytes(whole[:length])
        again = open_store(copy)
        again.close()

        complete = sum(end <= length for end in ends)
        assert (length, [(complete,)]) == (length, rows(copy, "SELECT count(*) FROM jobs WHERE state = 'S'"))
        assert [(complete,)] == rows(copy, "SELECT count(*) FROM attempts")
        assert is_sound(copy)
        copy.unlink()
    assert len(ends) == complete


def test_a_bit_that_flips_in_the_log_ends_it_there(tmp_path: Path) -> None:
    """What is before it is kept, what is after it is not believed."""
    path = tmp_path / "journal.db"
    store = begun(path)
    store._execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    store._execute("PRAGMA wal_autocheckpoint = 0")
    wal = Path(f"{path}-wal")
    ends = []
    for number in range(1, 13):
        store.apply([accept([b"%d" % number])])
        ends.append(wal.stat().st_size)
    whole, base = wal.read_bytes(), path.read_bytes()
    store.abandon()

    rng = random.Random(7)
    copy = tmp_path / "copy" / "journal.db"
    copy.parent.mkdir()
    for _ in range(40):
        at = rng.randrange(32, len(whole))
        copy.write_bytes(base)
        copy.chmod(0o600)
        Path(f"{copy}-wal").write_bytes(
            whole[:at] + bytes([whole[at] ^ 1 << rng.randrange(8)]) + whole[at + 1 :]
        )
        open_store(copy).close()

        assert (at, [(sum(end <= at for end in ends),)]) == (at, rows(copy, "SELECT count(*) FROM jobs"))
        assert is_sound(copy)
        copy.unlink()


def test_a_kill_in_the_middle_of_a_checkpoint_costs_nothing(tmp_path: Path) -> None:
    """Some pages of the file are new, some old; the log has all of them, and it is read before anything is judged."""
    path = tmp_path / "journal.db"
    store = begun(path, *[b"%d" % n * 50 for n in range(300)])
    store._execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    store._execute("PRAGMA wal_autocheckpoint = 0")
    for number in range(300):
        store.apply([Start.of(number + 1, 1), accept([b"%d" % (1000 + number) * 50])])
    before, log = path.read_bytes(), Path(f"{path}-wal").read_bytes()
    store.close()
    after = path.read_bytes()

    pages = range(0, len(after), 4096)
    rng = random.Random(7)
    copy = tmp_path / "copy" / "journal.db"
    copy.parent.mkdir()
    for _ in range(30):
        moved = {at for at in pages if rng.random() < 0.5}
        mixed = b"".join((after if at in moved else before)[at : at + 4096] for at in pages)
        copy.write_bytes(mixed)
        copy.chmod(0o600)
        Path(f"{copy}-wal").write_bytes(log)
        open_store(copy).close()

        assert [(600,)] == rows(copy, "SELECT count(*) FROM jobs")
        assert [(300,)] == rows(copy, "SELECT count(*) FROM attempts")
        assert is_sound(copy)
        copy.unlink()
