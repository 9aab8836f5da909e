"""Records from files and pipes: one per line or NUL, as bytes, read no further ahead than the pipeline asks."""

from __future__ import annotations

import os
import select
import stat
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from dynamic_pipeline.errors import SourceError, SourceStopped, UsageError
from dynamic_pipeline.journal.operations import InputMark
from dynamic_pipeline.records import MOST_BYTES, Record
from dynamic_pipeline.sources.marks import Marker
from dynamic_pipeline.stop import Stop

_CHUNK = 1 << 16
_BOM = b"\xef\xbb\xbf"
STDIN = "-"
NEWLINE = b"\n"


class _Place(NamedTuple):
    source: int  # which of the inputs, from 0
    fd: int  # of its file, open there
    lines: int  # before it


class LineSource:
    """The lines of *paths*, one after the other; `-` is standard input.

    Only `\\n` ends a line; one `\\r` before it is dropped, a BOM at the start of a file too, blank lines
    are skipped, and a last line without newline counts. With *separator* `\\0` the records are the bytes
    between NULs: nothing is dropped, and only empty ones are skipped. A record over a mebibyte becomes a
    bad one. A source that waits for a pipe gives up when *stop* is set.

    Raises:
        UsageError: a path cannot be read. SourceError: later, while reading.
    """

    def __init__(self, paths: Sequence[str], stop: Stop, *, separator: bytes = NEWLINE) -> None:
        for path in paths:
            _check_readable(path)
        self._paths = paths
        self._separator = separator
        self.blank = 0  # blank records that were skipped; the producer writes it, others may read it later
        self.has_cr = False  # a CR was dropped at least once; same
        # The place before which all records were given; None where nobody asked, or it cannot be known.
        self.mark: InputMark | None = None
        self._marker: Marker | None = None
        self._first: _Place | None = None  # where reading begins, if not at the beginning
        self._stop = stop
        self._wake_fd, stop_fd = os.pipe()
        stop.tell(lambda: os.close(stop_fd))  # an end of file for the poll below

    def keep_mark(self, known: InputMark | None = None) -> bool:
        """Keep `mark` up to date from now on. True: the input is what it was up to *known*, and begins behind it.

        Call it before the records are drawn. Only files can be read again, so pipes have no marks.
        """
        if not all(path != STDIN and os.path.isfile(path) for path in self._paths):  # noqa: PTH113 - text
            return False
        if known is not None and (found := self._found(known)) is not None:
            self._first, self._marker = found
            self.mark = known
            return True
        self._marker = Marker(self._separator)
        return False

    def _found(self, known: InputMark) -> tuple[_Place, Marker] | None:
        """The place of *known* in today's input, if all before it is as it was."""
        marker = Marker(self._separator)
        for number, path in enumerate(self._paths[: known.source + 1]):
            marker.begin_source(number)
            left = known.offset if number == known.source else sys.maxsize
            try:
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                return None  # whoever reads the records will tell
            try:
                while left and not self._stop.is_set and (chunk := os.read(fd, min(_CHUNK, left))):
                    marker.read(chunk)
                    left -= len(chunk)
                if number == known.source and marker.behind == known._replace(records=0):
                    place, fd = _Place(number, fd, known.line), -1
                    return place, marker
            except OSError:
                return None
            finally:
                if fd >= 0:
                    os.close(fd)
        return None

    def __iter__(self) -> Iterator[Record]:
        try:
            for number, path in enumerate(self._paths):
                if self._first is not None and number < self._first.source:
                    continue
                if self._marker is not None and self._first is None:
                    self._marker.begin_source(number)
                yield from self._records(path)
        finally:
            os.close(self._wake_fd)
            if self._first is not None:
                os.close(self._first.fd)

    def _records(self, path: str) -> Iterator[Record]:
        is_text = self._separator == NEWLINE
        for number, raw, is_whole in self._lines(path):
            if not is_whole:
                kind = "line" if is_text else "record"
                yield Record(raw, path, number, f"the {kind} is longer than {MOST_BYTES} bytes")
                continue
            record = self._without_cr(raw) if is_text else raw
            if record.strip() if is_text else record:
                yield Record(record, path, number)
            else:
                self.blank += 1

    def _lines(self, path: str) -> Iterator[tuple[int, bytes, bool]]:
        """Each line's number, its bytes without the separator (and a BOM), and whether they are all of it."""
        bom = _BOM if self._separator == NEWLINE else b""
        first = 1 if self._first is None else self._first.lines + 1
        for number, (raw, is_whole) in enumerate(_split(self._chunks(path), self._separator), first):
            yield number, raw.removeprefix(bom) if number == 1 else raw, is_whole

    def _without_cr(self, raw: bytes) -> bytes:
        if not raw.endswith(b"\r"):
            return raw
        self.has_cr = True
        return raw[:-1]

    def _chunks(self, path: str) -> Iterator[bytes]:
        try:
            fd, self._first = self._open(path), None
            try:
                is_file = stat.S_ISREG(os.fstat(fd).st_mode)
                poller = select.poll()
                poller.register(fd, select.POLLIN)
                poller.register(self._wake_fd, select.POLLIN)
                while True:
                    if not is_file and any(ready == self._wake_fd for ready, _ in poller.poll()):
                        raise SourceStopped
                    try:
                        chunk = os.read(fd, _CHUNK)
                    except BlockingIOError:
                        continue
                    if not chunk:
                        return
                    if self._marker is not None:
                        self._marker.read(chunk)
                    yield chunk
                    if self._marker is not None:  # the records that end in the chunk were given
                        self.mark = self._marker.behind
            finally:
                os.close(fd)
        except OSError as error:
            raise SourceError(f"{path}: cannot be read to its end: {error.strerror}") from error

    def _open(self, path: str) -> int:
        if self._first is not None:
            return self._first.fd
        return os.dup(0) if path == STDIN else os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)


def _split(chunks: Iterator[bytes], separator: bytes = NEWLINE) -> Iterator[tuple[bytes, bool]]:
    """Lines of *chunks* and whether each is whole; the rest of one over the limit is dropped as it comes."""
    rest, is_whole = b"", True
    for chunk in chunks:
        first, *more = chunk.split(separator)
        rest += first
        if len(rest) > MOST_BYTES:
            rest, is_whole = rest[:MOST_BYTES], False
        for line in more:
            yield rest, is_whole
            rest, is_whole = line, True
    if rest or not is_whole:
        yield rest, is_whole


def _check_readable(path: str) -> None:
    if path == STDIN:
        if sys.stdin is None:
            raise UsageError("-i -: standard input is closed")
        return
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - the path is the user's text
    except OSError as error:
        raise UsageError(f"-i {path}: {error.strerror}") from None
    if stat.S_ISDIR(mode):
        raise UsageError(f"-i {path}: is a directory", hint=f"find {path} -type f | … -i - gives its files")
    if not os.access(path, os.R_OK):
        raise UsageError(f"-i {path}: Permission denied")
