"""Reads what can be read of a table whose pages are damaged."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Generator, Iterator
from functools import partial
from typing import Any

_KEYS = {
    "works": "work",
    "runs": "run",
    "jobs": "job",
    "attempts": "job",
    "decisions": "run",
}  # what each table is read by
_MOST_HOLES = 4000  # of one table
_LEAST, _MOST = -(1 << 63), (1 << 63) - 1
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def is_damage(error: sqlite3.Error) -> bool:
    """What is in the file is to blame, and not the disk, or a lock."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGE


def readable_rows(
    connection: sqlite3.Connection, table: str, columns: list[str]
) -> Iterator[tuple[Any, ...]]:
    """Rows from both ends, up to where a page raises; the hole between is halved, for what stands in it.

    An attempt, or a decision, may come twice: where those of one job, or run, are cut by a hole.
    """
    key = _KEYS[table]
    names = ", ".join([key, *columns])
    statement = f"SELECT {names} FROM main.{table} WHERE {key} BETWEEN ? AND ? ORDER BY {key}"  # noqa: S608 - ours
    step = 0 if table in {"attempts", "decisions"} else 1
    holes = deque([(_LEAST, _MOST)])  # the widest first
    for _ in range(_MOST_HOLES):
        if not holes:
            return
        low, high = holes.popleft()
        is_all, last = yield from _one_way(
            partial(connection.execute, f"{statement} ASC", (low, high)), step, 1
        )
        if not is_all:
            low = low if last is None else last + step
            is_all, last = yield from _one_way(
                partial(connection.execute, f"{statement} DESC", (low, high)), step, -1
            )
        if not is_all:
            high = high if last is None else last - step
            if low < high:
                middle = (low + high) // 2
                holes += [(low, middle), (middle + 1, high)]


def _one_way(
    rows: Callable[[], Iterator[tuple[Any, ...]]], step: int, sign: int
) -> Generator[tuple[Any, ...], None, tuple[bool, int | None]]:
    """Rows whose keys are in order; whether that was all, and the last key that was read."""
    last: int | None = None
    try:
        for key, *row in rows():
            if last is not None and (key - last) * sign < step:
                return False, last  # pages that point in circles
            last = key
            yield tuple(row)
    except sqlite3.Error as error:
        if not is_damage(error):
            raise
        return False, last
    return True, last
