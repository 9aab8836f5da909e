"""Saves what can be read of a damaged journal into a new one, which then takes its place; the damaged one is kept."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from dynamic_pipeline.journal import place, schema
from dynamic_pipeline.journal.answers import STATES
from dynamic_pipeline.journal.faults import JournalError, opening_fault
from dynamic_pipeline.journal.identity import KEY_BYTES, job_key
from dynamic_pipeline.journal.numbers import MOST_JOBS, first_of, seq_of
from dynamic_pipeline.journal.readable import is_damage, readable_rows

_TABLES = "works", "runs", "jobs", "attempts"  # that are counted; decisions are saved too
_TYPES: dict[str, type] = {"INTEGER": int, "TEXT": str, "BLOB": bytes}

# A page that was never written may tell of an earlier time than its neighbours: a success stays one. And how far an
# input was accepted is true of all its jobs only.
_SETTLE = f"""
UPDATE found_jobs SET state = 'S' WHERE job IN (SELECT job FROM found_attempts WHERE outcome = 'succeeded');
CREATE TEMP TABLE places AS SELECT job AS old,
  work * {first_of(1)} + row_number() OVER (PARTITION BY work ORDER BY job) AS job FROM found_jobs;
CREATE UNIQUE INDEX temp.old_place ON places(old);
UPDATE runs SET mark_source = NULL, mark_offset = NULL, mark_line = NULL, mark_digest = NULL, mark_records = 0;
"""  # noqa: S608 - ours

Row = dict[str, Any]


class Salvaged(NamedTuple):
    """What was saved."""

    works: int
    runs: int
    jobs: int
    attempts: int
    left_out: int  # rows that were read and not taken: damaged themselves, or without their work or job
    kept: Path  # where the damaged journal is now


def salvage(path: Path) -> Salvaged | None:
    """Put a new journal with all that can be read in the place of a damaged one; None if it is whole.

    Under a `JournalLock`. Until the new file is complete nothing that was there is changed, and a kill at any
    moment leaves a journal that can be salvaged.

    Raises:
        JournalError: it is not a journal of ours, or nothing of it can be read, or there is no room.
    """
    if not place.look_at(path):
        raise JournalError(f"{path}: there is no journal", hint="a run makes one, unless --durability off")
    try:
        if _is_whole(path):
            schema.check(path)  # ours in every other way too
            return None
        for left in path.parent.glob(f"{path.name}.salvage-*"):  # of a salvage that was killed
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=f"{path.name}.salvage-", dir=path.parent) as folder:
            found, kept = _halfway(path)
            copy, new = Path(folder) / "damaged.db", Path(folder) / "new.db"
            for suffix in ("", "-wal"):
                if Path(f"{found}{suffix}").exists():
                    shutil.copyfile(f"{found}{suffix}", f"{copy}{suffix}")
            _fill_up(copy)
            schema.create(new)
            counts = _fill(copy, new)
            if not counts[0]:
                raise _hopeless(path)
            _exchange(path, new, kept)
    except OSError as error:
        raise JournalError(f"{path}: cannot be salvaged: {error.strerror}") from None
    except sqlite3.Error as error:
        raise (_hopeless(path) if is_damage(error) else opening_fault(error, path)) from error
    return Salvaged(*counts, kept)


def _hopeless(path: Path) -> JournalError:
    """An empty journal in its place would make a resume begin anew in silence."""
    return JournalError(f"{path}: nothing of it can be read", hint="move it away to begin anew")


def _is_whole(path: Path) -> bool:
    wal = Path(f"{path}-wal")
    has_wal = wal.exists() and wal.stat().st_size > 0
    connection = None
    try:
        connection = schema.connect(path, "ro" if has_wal else "ro&immutable=1")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > schema.VERSION:
            raise JournalError(
                f"{path}: made by a newer version of this program (format {version})",
                hint="use that version",
            )
        return bool(connection.execute("PRAGMA quick_check(1)").fetchone() == ("ok",))
    except sqlite3.Error as error:
        if is_damage(error):
            return False
        raise
    finally:
        if connection is not None:
            connection.close()


def _halfway(path: Path) -> tuple[Path, Path]:
    """What to read, and the name to keep it by; the same where an exchange was killed: there the log is complete."""
    for kept in path.parent.glob(f"{path.name}.damaged-*"):
        if kept.samefile(path):
            return kept, kept
    now = datetime.now().astimezone()
    return path, path.with_name(f"{path.name}.damaged-{now:%Y%m%dT%H%M%S.%f}")


def _exchange(path: Path, new: Path, kept: Path) -> None:
    """A log beside a file that is not its own would be replayed into it: the old one goes before the new file comes."""
    for suffix in ("-wal", ""):  # the file itself last: once it has its second name both are kept
        if Path(f"{path}{suffix}").exists() and not Path(f"{kept}{suffix}").exists():
            _name_too(f"{path}{suffix}", f"{kept}{suffix}")
    for suffix in ("-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    new.replace(path)
    place.sync_folder(path)


def _name_too(old: str, new: str) -> None:
    try:
        os.link(old, new)
    except OSError:  # some file systems have one name for a file
        shutil.copyfile(old, new)
        Path(new).chmod(0o600)


def _fill_up(copy: Path) -> None:
    """Give a file that was cut the size that its header tells: SQLite would not even open it."""
    with copy.open("rb") as file:
        header = file.read(32)
    size, pages = int.from_bytes(header[16:18], "big"), int.from_bytes(header[28:32], "big")
    with contextlib.suppress(OSError):  # its header is damaged too
        os.truncate(copy, max(copy.stat().st_size, (1 << 16 if size == 1 else size) * pages))


def _fill(damaged: Path, new: Path) -> tuple[int, int, int, int, int]:
    """Copy the rows; how many of each table, and how many were left out."""
    old = schema.connect(damaged, "rw")  # our own copy: the log may be replayed into it
    target = None
    try:
        target = schema.opened(new, "full")
        old.execute("PRAGMA writable_schema = ON")  # or a file that was cut is not read at all
        old.text_factory = lambda data: data.decode("utf-8", "backslashreplace")
        target.execute("BEGIN IMMEDIATE")
        counts = _copy(old, target)
        target.execute("COMMIT")
        problems = target.execute("PRAGMA integrity_check(1)").fetchall() != [("ok",)]
        if problems or target.execute("PRAGMA foreign_key_check").fetchall():
            raise JournalError(f"{new}: the new file is not sound either", hint="is the disk failing?")
        target.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    finally:
        old.close()
        if target is not None:
            target.close()
    return counts


def _copy(old: sqlite3.Connection, target: sqlite3.Connection) -> tuple[int, int, int, int, int]:
    """Jobs are numbered anew where some are lost: their numbers, and the counts of equal ones, have no gaps."""
    for table, key in (("jobs", "job"), ("attempts", "job, number, run")):
        target.execute(f"CREATE TEMP TABLE found_{table} AS SELECT * FROM main.{table} LIMIT 0")  # noqa: S608 - ours
        target.execute(f"CREATE UNIQUE INDEX temp.once_{table} ON found_{table}({key})")
    left_out = _take(old, target, "works", "works", lambda row: _is_json(row["parts"]))
    tasks: dict[int, bytes] = dict(target.execute("SELECT work, task FROM works").fetchall())
    left_out += _take(old, target, "runs", "runs", lambda row: row["work"] in tasks)
    runs_kept = {run for (run,) in target.execute("SELECT run FROM runs")}
    _take(old, target, "decisions", "decisions", lambda row: row["run"] in runs_kept)  # for people only
    left_out += _take(
        old,
        target,
        "jobs",
        "found_jobs",
        lambda row: row["work"] in tasks and _is_job(row, tasks[row["work"]]),
    )
    left_out += _take(old, target, "attempts", "found_attempts", lambda _: True)
    for statement in _SETTLE.split(";"):  # `executescript` would commit
        target.execute(statement)
    _move(target, "jobs", ("job",), "")
    # Numbers of runs are given again: the attempts of one that is lost would be taken for those of the next.
    _move(target, "attempts", ("job",), "WHERE run IN (SELECT run FROM runs)")
    (attempts,) = target.execute("SELECT count(*) FROM found_attempts").fetchone()
    works, runs, jobs, kept = (
        target.execute(f"SELECT count(*) FROM main.{table}").fetchone()[0]  # noqa: S608 - ours
        for table in _TABLES
    )
    return works, runs, jobs, kept, left_out + attempts - kept


def _take(
    old: sqlite3.Connection, target: sqlite3.Connection, table: str, into: str, is_good: Callable[[Row], bool]
) -> int:
    """Copy the good rows of *table*; how many were not. An older format has fewer columns, and tables."""
    known = {name for _, name, *_ in old.execute(f"PRAGMA main.table_info({table})")}
    columns = [column for column in target.execute(f"PRAGMA main.table_info({table})") if column[1] in known]
    if not columns:
        return 0
    names = [name for _, name, *_ in columns]
    types = [(_TYPES[kind], bool(is_needed)) for _, _, kind, is_needed, *_ in columns]
    places = ", ".join("?" * len(names))
    left_out = 0
    for values in readable_rows(old, table, names):
        is_typed = all(
            type(value) is kind or (value is None and not is_needed)
            for value, (kind, is_needed) in zip(values, types, strict=True)
        )
        if is_typed and is_good(dict(zip(names, values, strict=True))):
            statement = f"INSERT OR IGNORE INTO {into}({', '.join(names)}) VALUES ({places})"  # noqa: S608 - ours
            done = target.execute(statement, values)
            if done.rowcount or table == "attempts":  # of which one job's may come twice
                continue
        left_out += 1
    return left_out


def _move(target: sqlite3.Connection, table: str, renewed: tuple[str, ...], where: str) -> None:
    names = [name for _, name, *_ in target.execute(f"PRAGMA main.table_info({table})")]
    values = ", ".join(f"places.{name}" if name in renewed else f"found.{name}" for name in names)
    target.execute(
        f"INSERT OR IGNORE INTO main.{table} SELECT {values} FROM found_{table} AS found"  # noqa: S608 - ours
        f" JOIN places ON places.old = found.job {where} ORDER BY places.job"
    )


def _is_json(text: str | None) -> bool:
    try:
        return text is None or json.loads(text) is not None
    except ValueError:
        return False


def _is_job(row: Row, task: bytes) -> bool:
    """It is the job that was accepted: a record whose bytes have changed must not be run."""
    return (
        first_of(row["work"]) + seq_of(row["job"]) == row["job"]
        and 0 < seq_of(row["job"]) <= MOST_JOBS
        and row["state"] in STATES
        and len(row["job_key"] or b"") == KEY_BYTES
        and row["payload"] is not None
        and job_key(task, row["payload"]) == row["job_key"]
        and min(row["attempts"] or 0, row["interruptions"] or 0, row["alone"] or 0) >= 0
        and _is_json(row["fields"])
    )
