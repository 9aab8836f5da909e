"""The records of jobs that failed for good, as they stood in the input: another run can take them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence

from dynamic_pipeline.descriptors import write_all
from dynamic_pipeline.events import Event, JobFailed
from dynamic_pipeline.records import MOST_BYTES, Record
from dynamic_pipeline.stats import Stats


class FailedRecordsSink:
    """Makes *stem*`.`*suffix* when the first job has failed for good, not before.

    *headers*: of tables, by the name of the input; its records get a file for each header there is.
    A file that cannot be written costs the offer to run them again, not the run: the failures are told anyhow.
    """

    def __init__(self, stem: str, suffix: str, separator: bytes, headers: Mapping[str, bytes]) -> None:
        self._stem = stem
        self._suffix = suffix
        self._separator = separator
        self._headers = headers
        self._fds: dict[bytes, int] = {}  # by header
        self.paths: list[str] = []  # what has been made; read after the run
        self.left_out = 0  # records that were not kept whole, or would spoil the file
        self.error: OSError | None = None  # the first; nothing is written after it

    def emit(self, events: Sequence[Event], stats: Stats) -> None:  # noqa: ARG002 - a sink's signature
        records = [event.attempt.job.payload for event in events if isinstance(event, JobFailed)]
        if not records or self.error is not None:
            return
        rows: dict[bytes, list[bytes]] = {}
        for record in records:
            if _is_whole(record, is_table=self._suffix in {"csv", "tsv"}):
                header = self._headers.get(record.source, b"")
                rows.setdefault(header, []).append(record.raw + self._separator)
            else:
                self.left_out += 1
        try:
            for header, lines in rows.items():
                fd = self._fds.get(header, -1)
                write_all(self._open(header) if fd < 0 else fd, b"".join(lines))
        except OSError as error:
            self.error = error

    def close(self) -> None:
        for fd in self._fds.values():
            with contextlib.suppress(OSError):
                os.close(fd)
        self._fds.clear()

    def _open(self, header: bytes) -> int:
        number = f"-{len(self._fds) + 1}" if self._fds else ""
        path = f"{self._stem}{number}.{self._suffix}"
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)  # noqa: PTH103, PTH120 - text in, text out
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o666)
        self._fds[header] = fd
        self.paths.append(path)
        if header:
            write_all(fd, header + self._separator)
        return fd


def _is_whole(record: Record, *, is_table: bool) -> bool:
    """Whether its bytes are all there, and do not swallow the rows that follow by an open quote."""
    if not record.problem:
        return True
    return len(record.raw) < MOST_BYTES - 1 and not (is_table and record.raw.count(b'"') % 2)
