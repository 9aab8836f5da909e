"""The file's format: how a journal is made, checked and brought up to date."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from urllib.parse import quote

from dynamic_pipeline.journal import place
from dynamic_pipeline.journal.faults import JournalError, damaged, opening_fault
from dynamic_pipeline.journal.place import APPLICATION_ID
from dynamic_pipeline.journal.queries import read_sql

VERSION = 2
_OLDEST_SQLITE = (3, 31, 0)


def _to_2(connection: sqlite3.Connection) -> None:
    (text,) = (text for text in expected_schema() if text.startswith("CREATE TABLE decisions("))
    connection.execute(text)
    # The text of a table is then what schema.sql has, to the blank: that is what `check` compares.
    connection.execute("ALTER TABLE jobs ADD COLUMN accepted_us INTEGER")
    connection.execute("ALTER TABLE attempts ADD COLUMN output BLOB")


# From each version to the next: what is run, in one transaction with all later steps.
LADDER: Mapping[int, Callable[[sqlite3.Connection], None]] = {1: _to_2}


def connect(path: Path, mode: str, *, timeout_s: float = 5.0) -> sqlite3.Connection:
    """A connection without implicit transactions; *mode* is ro or rw, so that it never makes a file.

    With ro&immutable=1 it makes no files beside it either, and sees nothing of a WAL.

    It may be handed to another thread, as long as only one uses it.
    """
    uri = f"file:{quote(os.fsencode(path.absolute()))}?mode={mode}"
    connection = sqlite3.connect(
        uri, uri=True, isolation_level=None, timeout=timeout_s, cached_statements=64, check_same_thread=False
    )
    # A crafted file must not run code of its own: no functions in views and triggers, no reading of its pages
    # by mapping them, where a truncated file would be a SIGBUS.
    connection.executescript(
        "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0;"
        "PRAGMA foreign_keys = ON; PRAGMA temp_store = FILE; PRAGMA cache_size = -8000;"
    )
    return connection


def check_sqlite() -> None:
    """Refuse an SQLite that lacks what the statements need.

    Raises:
        JournalError: it is too old.
    """
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        raise JournalError(
            f"this Python has SQLite {sqlite3.sqlite_version}; a journal needs 3.31",
            hint="--durability off runs without one",
        )


def create(path: Path) -> None:
    """Put an empty journal at *path*, at once: a kill leaves all of it or nothing.

    Raises:
        OSError, sqlite3.Error: it cannot be made.
    """
    made = path.with_name(f"{path.name}.new")
    _clear_away(path, made)
    os.close(os.open(made, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0), 0o600))
    connection = connect(made, "rw")
    try:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # before WAL, or it is silently ignored
        connection.executescript(
            f"BEGIN IMMEDIATE; {read_sql('schema.sql')}"
            f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION}; COMMIT;"
        )
        _use_wal(connection, path)
        # Some file systems promise WAL and fail at the first write: better here than after the first job.
        connection.executescript("CREATE TABLE probe(n); DROP TABLE probe; PRAGMA wal_checkpoint(TRUNCATE);")
    finally:
        connection.close()
    made.replace(path)
    place.sync_folder(path)


def _clear_away(path: Path, made: Path) -> None:
    """Remove the halves of an earlier `create`; set aside a WAL whose database is gone, or it would be replayed."""
    for name in (
        made,
        Path(f"{made}-wal"),
        Path(f"{made}-shm"),
        Path(f"{made}-journal"),
        Path(f"{path}-shm"),
    ):
        name.unlink(missing_ok=True)
    for suffix in ("-wal", "-journal"):
        lost = Path(f"{path}{suffix}")
        if lost.exists():
            lost.replace(f"{path}{suffix}.lost")


def check(path: Path) -> int:
    """Read all of the journal at *path* without writing to it; its version.

    Raises:
        JournalError: it is damaged, or newer than this program. sqlite3.Error: it cannot be read.
    """
    wal = Path(f"{path}-wal")
    has_wal = wal.exists() and wal.stat().st_size > 0
    connection = connect(path, "ro" if has_wal else "ro&immutable=1")  # nobody writes: we hold the lock
    try:
        version: int = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            raise JournalError(
                f"{path}: made by a newer version of this program (format {version}, known up to {VERSION})",
                hint="use that version, or another --state-dir",
            )
        found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise damaged(path, found)
        if version == VERSION:
            _check_texts(connection, path)
    finally:
        connection.close()
    return version


def _check_texts(connection: sqlite3.Connection, path: Path) -> None:
    if _texts(connection) != expected_schema():
        raise JournalError(
            f"{path}: its tables are not those of a journal", hint="choose another --state-dir"
        )


def migrate(
    connection: sqlite3.Connection,
    path: Path,
    version: int,
    ladder: Mapping[int, Callable[[sqlite3.Connection], None]] = LADDER,
    to: int = VERSION,
) -> None:
    """Climb from *version* to *to* in one transaction, after a copy to `<journal>.v<N>.bak`.

    Raises:
        JournalError: there is no way up. sqlite3.Error: a step failed, and nothing was changed.
    """
    if version == to:
        return
    if any(step not in ladder for step in range(version, to)):
        raise JournalError(f"{path}: has format {version}, from which there is no way to {to}")
    copy = Path(f"{path}.v{version}.bak")
    half = Path(f"{copy}.new")
    half.unlink(missing_ok=True)
    connection.execute("VACUUM INTO ?", (os.fspath(half),))
    half.chmod(0o600)
    half.replace(copy)
    connection.execute("BEGIN IMMEDIATE")
    try:
        for step in range(version, to):
            ladder[step](connection)
        if to == VERSION:
            _check_texts(connection, path)
        connection.execute(f"PRAGMA user_version = {to}")  # rolled back with the rest
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def opened(path: Path, durability: str) -> sqlite3.Connection:
    """The writing connection of a journal that was checked, brought up to date.

    Raises:
        JournalError: it cannot be opened for writing.
    """
    connection = connect(path, "rw")
    try:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        migrate(connection, path, version)
        _use_wal(connection, path)
        connection.executescript(
            f"PRAGMA synchronous = {'FULL' if durability == 'full' else 'NORMAL'}; PRAGMA fullfsync = ON;"
            "PRAGMA journal_size_limit = 16777216; PRAGMA wal_autocheckpoint = 1000;"
            # For the counting of a shuffled input (see intake.py): a million records need about 30 MB of cache.
            "PRAGMA cache_size = -4000; PRAGMA temp.cache_size = -32000; PRAGMA temp.journal_mode = MEMORY;"
        )
    except sqlite3.Error as error:
        connection.close()
        raise opening_fault(error, path) from error
    except BaseException:
        connection.close()
        raise
    return connection


def _use_wal(connection: sqlite3.Connection, path: Path) -> None:
    if connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
        raise JournalError(
            f"{path.parent}: this file system cannot hold a journal (WAL)",
            hint="another --state-dir on a local disk",
        )


def _texts(connection: sqlite3.Connection) -> set[str]:
    found = connection.execute("SELECT sql FROM sqlite_master WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'")
    return {sql for (sql,) in found}


@cache
def expected_schema() -> frozenset[str]:
    """The statements that a journal of this version was made with."""
    connection = sqlite3.connect(":memory:")
    try:
        connection.executescript(read_sql("schema.sql"))
        return frozenset(_texts(connection))
    finally:
        connection.close()
