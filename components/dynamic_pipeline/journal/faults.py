"""What can go wrong with a journal, and what that means for the run."""

from __future__ import annotations

import sqlite3

from dynamic_pipeline.errors import IoFault

_PRIMARY = 0xFF  # the low byte of an extended result code
# Of the input/output errors these come before or during a write, and SQLite has rolled back: trying again is
# safe. Those of fsync are not among them: the kernel may have dropped the pages that it could not write.
_WRITES = {
    sqlite3.SQLITE_IOERR_WRITE,
    sqlite3.SQLITE_IOERR_TRUNCATE,
    sqlite3.SQLITE_IOERR_SHMSIZE,
    sqlite3.SQLITE_IOERR_SHMOPEN,
    sqlite3.SQLITE_IOERR_NOMEM,
    sqlite3.SQLITE_IOERR_GETTEMPPATH,
    sqlite3.SQLITE_IOERR_LOCK,
}
_PASSING = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_CANTOPEN,  # often: no free file descriptor
}
_LASTING = {
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_AUTH,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_NOLFS,
    sqlite3.SQLITE_INTERNAL,
    sqlite3.SQLITE_MISUSE,
}


class JournalError(IoFault):
    """The journal cannot be used; *hint* tells the way out, *exit_code* how the program ends."""

    exit_code = 4

    def __init__(self, text: str, *, hint: str = "") -> None:
        super().__init__(text)
        self.hint = hint


class JournalLocked(JournalError):
    """Another process holds the journal."""

    exit_code = 75


class JournalStuck(JournalError):
    """It could not be written now (a full disk, no free descriptor); all was rolled back, and a retry may work."""


class JournalBroken(JournalError):
    """It could not be written, and what is on the disk is unsure: only reopening it can tell."""


def fault_of(error: sqlite3.Error, path: object) -> JournalError | None:
    """What *error* says about the file at *path*; None if the data was to blame and not the file."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:  # the module's own refusal: a wrong type, a wrong number of parameters
        return None
    primary, text = code & _PRIMARY, f"{path}: {error} ({getattr(error, 'sqlite_errorname', code)})"
    if code in _WRITES or primary in _PASSING:
        return JournalStuck(text, hint="free some space, then run again with --resume")
    if primary in _LASTING:
        return JournalBroken(text, hint="run again with --resume once the cause is gone")
    return None


def opening_fault(error: sqlite3.Error, path: object) -> JournalError:
    """The same for an error while the journal is being opened, where nothing is worth a retry."""
    primary = getattr(error, "sqlite_errorcode", 0) & _PRIMARY
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return JournalLocked(
            f"{path}: another program has it open and locked", hint="close it, then run again"
        )
    if primary == sqlite3.SQLITE_NOTADB:
        return JournalError(f"{path}: not a pipeline journal", hint=NOT_OURS_HINT)
    if primary == sqlite3.SQLITE_CORRUPT:
        return damaged(path, str(error))
    if primary == sqlite3.SQLITE_READONLY:
        return JournalError(f"{path}: is read-only ({error})", hint="another --state-dir can be written")
    return JournalError(f"{path}: cannot be opened: {error}")


NOT_OURS_HINT = "it was not touched; move it away, or choose another --state-dir"


def damaged(path: object, detail: str) -> JournalError:
    """The file is ours, and broken."""
    told = [line for line in detail.splitlines() if not line.startswith("***")]  # SQLite's headings
    return JournalError(
        f"{path}: is damaged: {told[0] if told else 'unreadable'}",
        hint="`journal recover` saves what can be read into a new file",
    )
