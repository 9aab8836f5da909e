"""One run at a time on a journal: a lock of the kernel's, which ends with the process that holds it."""

from __future__ import annotations

import json
import os
import socket
import time
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from filelock import Timeout, UnixFileLock

from dynamic_pipeline.journal.faults import JournalError, JournalLocked
from dynamic_pipeline.journal.place import make_folder
from dynamic_pipeline.journal.processes import start_tick

_POLL_S = 0.05
_NEW_HOLDER_S = 0.5  # between getting the lock and writing down who one is
_MOST_CHARS = 4096


class Holder(NamedTuple):
    """Who holds a lock, as it says itself."""

    pid: int
    host: str
    since: str  # for people
    pid_start: int = 0

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}"


class JournalLock:
    """Held by the process, not by a thread; the file beside the journal stays when it is released.

    Removing it would let two in: one on the old file, one on a new one of the same name.
    """

    def __init__(self, journal: Path) -> None:
        self.journal = journal
        self.path = journal.with_name(f"{journal.name}.lock")
        # `flock` itself or nothing: a lock that is a mere file would outlive a killed holder.
        self._lock = UnixFileLock(
            self.path, mode=0o600, thread_local=False, fallback_to_soft=False, poll_interval=_POLL_S
        )

    @property
    def is_held(self) -> bool:
        """By this object."""
        return self._lock.is_locked

    def acquire(self, wait_s: float = 0.0) -> None:
        """Take the lock, waiting *wait_s* seconds for it at the most.

        Raises:
            JournalLocked: another process holds it; the text tells which. JournalError: no lock can be had here.
        """
        make_folder(self.journal)
        if self.path.is_symlink():  # the library refuses it too, with the words of its system call
            raise JournalError(f"{self.path}: is a symbolic link", hint="remove it")
        try:
            self._lock.acquire(timeout=wait_s)
        except Timeout:
            raise JournalLocked(
                f"{self.journal}: another run holds it ({self._wait_holder() or 'holder unknown'})",
                hint="wait for it, or choose another --state-dir; `run --if-locked skip` leaves with 0",
            ) from None
        except (OSError, NotImplementedError) as error:
            raise JournalError(f"{self.path}: cannot be locked: {error}") from None
        here = Holder(
            os.getpid(),
            socket.gethostname(),
            datetime.now().astimezone().isoformat(timespec="seconds"),
            start_tick(os.getpid()) or 0,
        )
        self._write(json.dumps(here._asdict()))

    def release(self) -> None:
        """Let go; again changes nothing."""
        if self._lock.is_locked:
            self._write("")
            self._lock.release()

    def holder(self) -> Holder | None:
        """Who has written down that they hold it; None if nobody, or somebody who is dead by now."""
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with open(fd, "rb") as file:  # noqa: PTH123 - a descriptor
                found = Holder(**json.loads(file.read(_MOST_CHARS)))
        except (OSError, ValueError, TypeError):
            return None
        is_here = found.host == socket.gethostname() and found.pid_start
        return None if is_here and start_tick(found.pid) != found.pid_start else found

    def _wait_holder(self) -> Holder | None:
        """The lock is held: whoever it is writes it down in a moment. What a dead one has left does not count."""
        deadline_s = time.monotonic() + _NEW_HOLDER_S
        while (found := self.holder()) is None and time.monotonic() < deadline_s:
            time.sleep(_POLL_S / 5)
        return found

    def _write(self, text: str) -> None:
        # Another descriptor of the file does not disturb a `flock`. The text is for people: the lock is the kernel's.
        try:
            fd = os.open(self.path, os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW)
            with open(fd, "w", encoding="utf-8") as file:  # noqa: PTH123 - a descriptor
                file.write(text)
        except OSError:
            pass  # a full disk: the lock holds all the same
