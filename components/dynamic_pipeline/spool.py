"""The output of one command: in a file while it runs, in memory afterwards if it is small."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

_IN_MEMORY = 16 * 1024  # bytes; larger output stays in its file, so that a gigabyte costs no memory
_CHUNK = 1 << 20


class Spool:
    """Bytes that a command wrote, read once. It holds no open file, however long it waits to be shown."""

    def __init__(self, path: str) -> None:
        self._path: str | None = path
        self._data = b""
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def fileno(self) -> int:
        """The descriptor for the child to write to; valid until `close`."""
        return self._fd

    def close(self) -> None:
        """Close our end: the child has its own, and a thousand that run must not cost us a thousand open files."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def seal(self) -> None:
        """The command is over: keep the file only if it is large.

        Raises:
            OSError: somebody has removed the file.
        """
        self.close()
        if self._path is None:
            return
        size = os.stat(self._path).st_size  # noqa: PTH116 - a hot path: one call per job and stream
        if size <= _IN_MEMORY:
            if size:
                with open(self._path, "rb", buffering=0) as file:  # noqa: PTH123 - same
                    self._data = file.read(_IN_MEMORY)
            self._unlink()

    def chunks(self) -> Iterator[bytes]:
        """What was written, in pieces."""
        if self._path is None:
            if self._data:
                yield self._data
            return
        with open(self._path, "rb", buffering=0) as file:  # noqa: PTH123 - unbuffered, a megabyte at a time
            while chunk := file.read(_CHUNK):
                yield chunk

    def discard(self) -> None:
        """Let go of it; again changes nothing."""
        self._data = b""
        self._unlink()

    def _unlink(self) -> None:
        if self._path is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path)  # noqa: PTH108 - a hot path: one call per job and stream
            self._path = None
