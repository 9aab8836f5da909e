"""The output of one command: in a file while it runs, in memory afterwards if it is small."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator

IN_MEMORY = 16 * 1024  # bytes; larger output stays in its file, so that a gigabyte costs no memory
_CHUNK = 1 << 20
_NO_DESCRIPTOR = {errno.EMFILE, errno.ENFILE}


def has_disk_room(folder: str) -> bool:
    """False if the disk of *folder* is full: what was written there may be cut, whatever its writer said."""
    try:
        disk = os.statvfs(folder)
    except OSError:  # it is gone, which others tell of
        return True
    free = disk.f_bavail if os.geteuid() else disk.f_bfree
    return free > 0 or disk.f_blocks == 0  # some file systems do not count


class Spool:
    """Bytes that a command writes to a file at *path*. It holds no open file, however long it waits to be shown.

    Empty until it is handed out. Up to *in_memory* bytes come into memory when it is sealed; -1: the file stays.
    """

    __slots__ = ("_data", "_has_file", "_in_memory", "_path", "size")  # thousands may wait

    def __init__(self, path: str, in_memory: int = IN_MEMORY) -> None:
        self.size = 0  # bytes; known when it is sealed
        self._path = path
        self._in_memory = in_memory
        self._has_file = False
        self._data = b""

    def hand_out(self) -> bytes:
        """The path, for a program that makes the file there; from now on there may be one."""
        self._has_file = True
        return os.fsencode(self._path)

    @property
    def is_made(self) -> bool:
        """Whether the file is there."""
        return self._has_file and os.path.lexists(self._path)

    def seal(self) -> None:
        """The command is over: keep the file only if it is large, or cannot be opened now.

        Raises:
            FileNotFoundError: somebody has removed the file.
        """
        if not self._has_file:
            return
        self.size = os.stat(self._path).st_size  # noqa: PTH116 - a hot path: one call per job and stream
        if self.size <= self._in_memory:
            if self.size:
                try:
                    with open(self._path, "rb", buffering=0) as file:  # noqa: PTH123 - same
                        self._data = file.read(self._in_memory)
                except OSError as error:
                    # The command was run: its outcome must not depend on a descriptor that we lack.
                    if error.errno in _NO_DESCRIPTOR:
                        return
                    raise
            self._unlink()

    def put_down(self, path: str, in_memory: int) -> Spool:
        """What was written elsewhere, and came here in memory: above *in_memory* bytes in a new file at *path*.

        Raises:
            OSError: it cannot be put there.
        """
        spool = Spool(path, in_memory)
        spool.size, spool._data = self.size, self._data
        if self.size > in_memory:
            with open(spool.hand_out(), "xb") as file:  # noqa: PTH123 - same
                file.write(self._data)
            spool._data = b""
        return spool

    def chunks(self, size: int = _CHUNK) -> Iterator[bytes]:
        """What was written, in pieces of *size* bytes at the most."""
        if not self._has_file:
            for start in range(0, len(self._data), size):
                yield self._data[start : start + size]
            return
        with open(self._path, "rb", buffering=0) as file:  # noqa: PTH123 - unbuffered, a megabyte at a time
            while chunk := file.read(size):
                yield chunk

    def tail(self, size: int) -> bytes:
        """The last *size* bytes, or fewer."""
        if not self._has_file:
            return self._data[-size:]
        with open(self._path, "rb", buffering=0) as file:  # noqa: PTH123 - same
            file.seek(max(0, self.size - size))
            return file.read(size)

    def move(self, path: str) -> None:
        """Keep what was written at *path*, on the same file system, in place of what is there.

        Raises:
            OSError: it cannot be put there.
        """
        if self._has_file:
            os.replace(self._path, path)  # noqa: PTH105 - same
            self._has_file = False
        else:
            with open(path, "wb") as file:  # noqa: PTH123 - same
                file.write(self._data)
        self._data = b""

    def discard(self) -> None:
        """Let go of it; again changes nothing."""
        self._data = b""
        self._unlink()

    def _unlink(self) -> None:
        if self._has_file:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path)  # noqa: PTH108 - a hot path: one call per job and stream
            self._has_file = False
