"""Looks at where a journal is, or shall be, before SQLite is asked: what is not ours is never opened for writing."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from pathlib import Path

from dynamic_pipeline.journal.faults import NOT_OURS_HINT, JournalError

APPLICATION_ID = 0x44505031  # "DPP1", big-endian at byte 68 of the file
LEAST_FREE = 16 << 20  # bytes of disk; with less a run is not begun
_MAGIC = b"SQLite format 3\0"
_HEADER = 100  # bytes
# WAL needs memory shared between processes of one host, and locks that hold: these file systems do not promise it.
_REMOTE = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ncpfs", "9p", "ceph", "fuse.sshfs", "davfs"}
_ELSEWHERE = "another --state-dir on a local disk"


def make_folder(path: Path) -> None:
    """Make the folder of *path*, for its owner only, if it is not there.

    Raises:
        JournalError: it cannot be made.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise JournalError(f"{path.parent}: cannot be made: {error.strerror}") from None


def sync_folder(path: Path) -> None:
    """Put on the disk that a file of that name is there."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some file systems cannot
            os.fsync(folder)
    finally:
        os.close(folder)


def look_at(path: Path) -> bool:
    """True if a journal of ours is at *path*, False if there is nothing, or an empty file. Changes nothing.

    Raises:
        JournalError: something else is there, or it may not be read and written.
    """
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise JournalError(f"{path}: cannot be opened: {error.strerror}") from None
    if stat.S_ISLNK(found.st_mode):
        raise JournalError(f"{path}: is a symbolic link", hint="link the folder, not the file")
    if stat.S_ISDIR(found.st_mode):
        raise JournalError(f"{path}: is a directory", hint="choose another --state-dir")
    if not stat.S_ISREG(found.st_mode):
        raise JournalError(f"{path}: is not a regular file", hint=NOT_OURS_HINT)
    if found.st_uid != os.geteuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise JournalError(
            f"{path}: others may have written to it (owner {found.st_uid}, mode {stat.S_IMODE(found.st_mode):o})",
            hint="if you trust what is in it: chown and chmod 600",
        )
    if not found.st_size:
        return False
    _check_header(path)
    return True


def check_writable(path: Path, *, least_free: int = LEAST_FREE) -> None:
    """Whether a journal can live here: rights, kind of file system, free space.

    Raises:
        JournalError: it cannot.
    """
    folder = path.parent
    if not os.access(folder, os.W_OK | os.X_OK):
        raise JournalError(f"{folder}: the folder cannot be written", hint="choose another --state-dir")
    if path.exists() and not os.access(path, os.R_OK | os.W_OK):
        raise JournalError(f"{path}: the file cannot be written", hint="choose another --state-dir")
    kind = file_system(folder)
    if kind in _REMOTE:
        raise JournalError(f"{folder}: is on a network file system ({kind})", hint=_ELSEWHERE)
    free = shutil.disk_usage(folder).free
    if free < least_free:
        raise JournalError(f"{folder}: only {free} bytes are free", hint=f"{least_free} are needed to begin")


def file_system(folder: Path) -> str:
    """The type of the file system of *folder*, of the deepest mount above it; empty where nobody tells."""
    try:
        lines = Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines()
    except OSError:
        return ""
    here = folder.resolve()
    best = -1, ""
    for line in lines:
        before, _, after = line.partition(" - ")
        point = before.split(" ")[4].replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
        if here.is_relative_to(point) and len(point) >= best[0]:  # of two on one place the later one shows
            best = len(point), after.split(" ")[0]
    return best[1]


def _check_header(path: Path) -> None:
    # No connection of ours is open yet: closing any descriptor of the file would drop SQLite's locks on it.
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER)
    except OSError as error:
        raise JournalError(f"{path}: cannot be read: {error.strerror}") from None
    if not header.startswith(_MAGIC):
        raise JournalError(f"{path}: not a pipeline journal", hint=NOT_OURS_HINT)
    if len(header) < _HEADER:
        raise JournalError(f"{path}: is damaged: cut short in its header", hint=NOT_OURS_HINT)
    if int.from_bytes(header[68:72], "big") != APPLICATION_ID:
        raise JournalError(f"{path}: the database of another application", hint=NOT_OURS_HINT)
