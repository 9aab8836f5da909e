"""Writing to a descriptor that we did not open: all of it, whatever its other owners did to it."""

from __future__ import annotations

import contextlib
import os
import select

_LAST_STANDARD = 2


def write_all(fd: int, data: bytes) -> None:
    """Write all of *data*, waiting for the reader where there is no room.

    The program at the other end of a shared terminal or pipe may have made it non-blocking; that is no fault.

    Raises:
        OSError: the reader has gone, the disk is full, …
    """
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(fd, rest) :]
        except BlockingIOError:
            poller = select.poll()
            poller.register(fd, select.POLLOUT)
            poller.poll()


def keep_to_ourselves() -> None:
    """Let no program that we start inherit what we were given open, but for 0, 1 and 2.

    Such as the lock of a cron job's `flock 9`: what a command leaves behind would hold it. What Python opens
    is not inheritable in the first place.
    """
    with contextlib.suppress(OSError):  # no such folder: then there is nothing to be done
        for name in os.listdir("/dev/fd"):  # noqa: PTH208 - numbers
            with contextlib.suppress(OSError):  # the one that listed the folder
                if int(name) > _LAST_STANDARD:
                    os.set_inheritable(int(name), False)
