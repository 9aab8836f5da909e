"""Writing to a descriptor that we did not open: all of it, whatever its other owners did to it."""

from __future__ import annotations

import os
import select


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
