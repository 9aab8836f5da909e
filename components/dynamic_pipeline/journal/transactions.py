"""A writing connection's transactions: all or nothing, and every error said in our words."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

from dynamic_pipeline.journal.faults import JournalBroken, fault_of

_T = TypeVar("_T")


class _FileId(NamedTuple):
    """Which file this is: the name may be given to another one meanwhile."""

    device: int
    inode: int

    @classmethod
    def of(cls, path: Path) -> _FileId:
        found = path.stat()
        return cls(found.st_dev, found.st_ino)


class Transactions:
    """Runs functions inside transactions on *connection*; *on_undo* hears of each that was rolled back."""

    def __init__(
        self, path: Path, connection: sqlite3.Connection, on_undo: Callable[[], object] = bool
    ) -> None:
        self.connection = connection
        self._path = path
        self._file = _FileId.of(path)
        self._on_undo = on_undo

    def write(self, do: Callable[[], _T]) -> _T:
        """What *do* returns, committed; nothing of it is left if it raises.

        Raises:
            JournalError: the file was to blame. sqlite3.Error: the data, or the statement.
        """

        def transaction() -> _T:
            if self.connection.in_transaction:  # the last one could not even be rolled back
                self.connection.execute("ROLLBACK")
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                answer = do()
                self.connection.execute("COMMIT")
            except BaseException:
                self._on_undo()
                if self.connection.in_transaction:  # SQLite has often done it already
                    with contextlib.suppress(sqlite3.Error):
                        self.connection.execute("ROLLBACK")
                raise
            return answer

        return self.guarded(transaction)

    def guarded(self, do: Callable[[], _T]) -> _T:
        """What *do* returns; faults of the file are raised as `JournalError`."""
        try:
            return do()
        except sqlite3.Error as error:
            fault = fault_of(error, self._path)
            if fault is None:
                raise
            raise fault from error

    def check_place(self) -> None:
        """Whether the file is still where it was: SQLite would go on writing to one that was removed.

        Raises:
            JournalBroken: it is not.
        """
        try:
            is_same = _FileId.of(self._path) == self._file
        except OSError:
            is_same = False
        if not is_same:
            raise JournalBroken(
                f"{self._path}: was removed or replaced while the run was writing to it",
                hint="what was done since cannot be recorded",
            )
