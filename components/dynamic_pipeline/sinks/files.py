"""The files that reports are written to: one that grows, and one that takes its name when it is complete."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator

from dynamic_pipeline.descriptors import write_all
from dynamic_pipeline.errors import OutputError

_PATIENCE_S = 1.0  # for a reader that is on its way, and for another run that looks at the file
_POLL_S = 0.01


class GrowingFile:
    """Takes whole rows at its end; what others have added stays. *name* is how errors call it."""

    def __init__(self, name: str, fd: int, *, is_stdout: bool = False) -> None:
        self._name = name
        self._fd = fd
        self._is_stdout = is_stdout  # whose reader may go away, which has an exit code of its own

    @classmethod
    def open(cls, name: str, path: str, head: bytes = b"") -> GrowingFile:
        """Open the file at *path*, or make it; *head* is written if it is empty.

        A last row that was cut off, by a full disk or a kill, gets its newline, or the next one would be glued to it.

        Raises:
            OutputError: it cannot be opened or written, is a pipe that nobody reads, or is held by another program.
        """
        with _as_output_error(name):
            fd = _open_growing(path)
        file = cls(name, fd)
        try:
            with _as_output_error(name), _alone(fd):
                found = os.fstat(fd)
                size = found.st_size if stat.S_ISREG(found.st_mode) else 0  # macOS: what waits in a pipe
                write_all(fd, b"\n" if size and _is_torn(path, size) else b"" if size else head)
        except BaseException:
            os.close(fd)
            raise
        return file

    def write(self, data: bytes) -> None:
        """Add *data*: one write, so that runs that share the file do not mix within a row.

        Raises:
            OutputError: it cannot be written.
        """
        with _as_output_error(self._name, is_stdout=self._is_stdout):
            write_all(self._fd, data)

    def close(self) -> None:
        """Let go of it; again changes nothing.

        Raises:
            OutputError: some file systems tell of a full disk only here.
        """
        fd, self._fd = self._fd, -1
        if fd >= 0:
            with _as_output_error(self._name):
                os.close(fd)


class CompleteFile:
    """Is written beside *path* and takes that name at the end: nobody ever reads half of it.

    What stands at *path* is replaced by then, and stays if it never comes to that.

    Raises:
        OutputError: nothing can be written in that folder.
    """

    def __init__(self, name: str, path: str) -> None:
        self._name = name
        self._path = os.path.realpath(path)  # the file behind a link is replaced, not the link
        folder, base = os.path.split(self._path)
        self._beside = os.path.join(folder, f".{base[:200]}.{os.urandom(4).hex()}.part")  # noqa: PTH118 - text in, text out
        self._fd = -1
        with _as_output_error(name):
            _check_replaceable(self._path)
            self._fd = os.open(self._beside, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)

    @property
    def is_open(self) -> bool:
        """Neither complete nor given up."""
        return self._fd >= 0

    def write(self, data: bytes) -> None:
        """Add *data*.

        Raises:
            OutputError: it cannot be written, and has been given up.
        """
        try:
            with _as_output_error(self._name):
                write_all(self._fd, data)
        except OutputError:
            self.discard()
            raise

    def complete(self, head: bytes = b"") -> None:
        """Put *head* over the first bytes, and the file in its place.

        Raises:
            OutputError: that cannot be done, and it has been given up.
        """
        try:
            with _as_output_error(self._name):
                if head:
                    os.pwrite(self._fd, head, 0)
                fd, self._fd = self._fd, -1
                os.close(fd)
                _check_replaceable(self._path)
                os.replace(self._beside, self._path)  # noqa: PTH105 - same
        except OutputError:
            self._remove()
            raise

    def discard(self) -> None:
        """Give it up, unless it is complete; again changes nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            with contextlib.suppress(OSError):
                os.close(fd)
            self._remove()

    def _remove(self) -> None:
        with contextlib.suppress(OSError):
            os.unlink(self._beside)  # noqa: PTH108 - same


def _check_replaceable(path: str) -> None:
    """A rename would put a file in the place of a device, for everybody on the machine.

    Raises:
        OSError: something that is no file has that name.
    """
    if os.path.lexists(path) and not os.path.isfile(path):  # noqa: PTH113 - text in
        raise OSError(errno.EINVAL, "it is no file that could be replaced")


def _open_growing(path: str) -> int:
    """A descriptor that appends to the file at *path*, which is made if missing.

    Raises:
        OSError: that is not possible, or it is a pipe that nobody has come to read.
    """
    # Not for reading too: of a pipe we would be a reader ourselves, and never hear that the others have gone.
    # Without O_NONBLOCK a pipe without a reader would hold us here, before signals are heard.
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
    deadline_s = time.monotonic() + _PATIENCE_S
    while True:
        try:
            fd = os.open(path, flags, 0o666)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            if time.monotonic() >= deadline_s:
                raise OSError(errno.ENXIO, "it has no reader") from error
        else:
            os.set_blocking(fd, True)
            return fd
        time.sleep(_POLL_S)


def _is_torn(path: str, size: int) -> bool:
    """Whether the last of its *size* bytes ends no line; one that we may not read is taken as whole."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError:
        return False
    try:
        return os.pread(fd, 1, size - 1) != b"\n"
    finally:
        os.close(fd)


@contextlib.contextmanager
def _alone(fd: int) -> Iterator[None]:
    """Other runs that begin now wait; where the file cannot be locked they do not.

    Raises:
        OSError: somebody does not let go of it.
    """
    deadline_s = time.monotonic() + _PATIENCE_S
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline_s:
                raise OSError(errno.EWOULDBLOCK, "another program holds it") from None
        except OSError:  # a file system without locks
            break
        else:
            break
        time.sleep(_POLL_S)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_UN)


@contextlib.contextmanager
def _as_output_error(name: str, *, is_stdout: bool = False) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reader_gone = is_stdout and isinstance(error, BrokenPipeError)
        text = f"{name} cannot be written: {error.strerror}"
        raise OutputError(text, reader_gone=reader_gone) from error
