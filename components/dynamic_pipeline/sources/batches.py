"""Records on their way to the journal: what waits goes as one batch, and one batch is on its way at a time."""

from __future__ import annotations

import threading
from collections import deque
from typing import NamedTuple

from dynamic_pipeline.journal.operations import InputMark
from dynamic_pipeline.records import Record

MOST_RECORDS = 200  # of one batch


class Batch(NamedTuple):
    """What is accepted in one go."""

    records: list[Record]
    mark: InputMark | None = None  # the place of the input behind the last of them


class Batches:
    """Two threads make batches: one that gathers records, and one that has brought a batch there."""

    def __init__(self, mark: InputMark | None = None) -> None:
        """*mark*: the place before the first record, if it is known already."""
        self._lock = threading.Lock()
        self._gathered: deque[Record | InputMark] = deque()
        self._mark = mark  # the last one that was gathered
        self._is_on_its_way = False

    def add(self, record: Record | None, mark: InputMark | None) -> Batch | None:
        """Gather *record*, before which the input is at *mark*; what is to be sent now, if anything."""
        with self._lock:
            if mark is not self._mark:
                self._mark = mark
                if mark is not None:
                    self._gathered.append(mark)
            if record is not None:
                self._gathered.append(record)
            return self._take()

    def arrived(self) -> Batch | None:
        """The batch that was on its way is there; the next one, if anything was gathered."""
        with self._lock:
            self._is_on_its_way = False
            return self._take()

    def rest(self) -> list[Batch]:
        """All that was gathered, whether or not a batch is on its way."""
        with self._lock:
            batches = []
            while self._gathered:
                batches.append(self._next())
            return batches

    def _take(self) -> Batch | None:
        if self._is_on_its_way or not self._gathered:
            return None
        self._is_on_its_way = True
        return self._next()

    def _next(self) -> Batch:
        """Up to the next mark."""
        records: list[Record] = []
        while self._gathered and len(records) < MOST_RECORDS:
            item = self._gathered.popleft()
            if isinstance(item, InputMark):
                return Batch(records, item)
            records.append(item)
        return Batch(records)
