"""Records on their way to the journal: what waits goes as one batch, and one batch is on its way at a time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from dynamic_pipeline.journal.operations import InputMark
from dynamic_pipeline.records import Record

MOST_RECORDS = 200  # of one batch


class Batch(NamedTuple):
    """What is accepted in one go."""

    records: list[Record]
    mark: InputMark | None = None  # the place of the input behind the last of them


class Batches:
    """Two threads make batches: one that gathers records, and one that has brought a batch there.

    Args:
        send: takes a batch, and never blocks. It is called under the lock, so that batches stay in order and
            none is on its way after `send_rest`.
        mark: the place before the first record, if it is known already.
    """

    def __init__(self, send: Callable[[Batch], object], mark: InputMark | None = None) -> None:
        self._send = send
        self._lock = threading.Lock()
        self._gathered: deque[Record | InputMark] = deque()
        self._mark = mark  # the last one that was gathered
        self._is_on_its_way = False

    def add(self, record: Record | None, mark: InputMark | None) -> None:
        """Gather *record*, before which the input is at *mark*; send it if nothing is on its way."""
        with self._lock:
            if mark is not self._mark:
                self._mark = mark
                if mark is not None:
                    self._gathered.append(mark)
            if record is not None:
                self._gathered.append(record)
            self._send_next()

    def arrived(self) -> None:
        """The batch that was on its way is there; send the next one, if anything was gathered."""
        with self._lock:
            self._is_on_its_way = False
            self._send_next()

    def send_rest(self) -> None:
        """Send all that was gathered, whether or not a batch is on its way."""
        with self._lock:
            while self._gathered:
                self._send(self._next())

    def _send_next(self) -> None:
        if not self._is_on_its_way and self._gathered:
            self._is_on_its_way = True
            self._send(self._next())

    def _next(self) -> Batch:
        """Up to the next mark."""
        records: list[Record] = []
        while self._gathered and len(records) < MOST_RECORDS:
            item = self._gathered.popleft()
            if isinstance(item, InputMark):
                return Batch(records, item)
            records.append(item)
        return Batch(records)
