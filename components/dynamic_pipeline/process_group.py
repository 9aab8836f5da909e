"""One child process in a session of its own: waited for, and ended with all that it started.

The session keeps the terminal's Ctrl+C away from it. Its leader is reaped last: until then its process
group cannot be reused by a stranger, so a signal to the group never hits one.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
import time

_POLL_S = 0.02  # between two looks where the kernel cannot wake us
_LONGEST_POLL_S = 0.2
_LONGEST_WAIT_S = 86_400.0  # at once: the kernel counts milliseconds in 31 bits, which are 24 days
_FRESH_S = 0.05  # a look at all processes that is no older serves everybody


class ProcessGroup:
    """A command that runs, by the number of its leader and group. Owned by the thread that started it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._code: int | None = None  # from `reap` on: its number may be a stranger's
        self._exited_s: float | None = (
            None  # when the leader was first seen to have exited, on the monotonic clock
        )

    def wait(self, wake_fd: int, timeout_s: float | None = None) -> bool:
        """Block until the leader has exited (True), or *wake_fd* is readable or the time is up (False).

        The leader is not reaped yet.
        """
        try:
            pidfd = os.pidfd_open(self.pid)
        except (AttributeError, OSError):  # not Linux, or a sandbox without the call
            return self._wait_polling(wake_fd, timeout_s)
        try:
            poller = select.poll()
            poller.register(pidfd, select.POLLIN)
            poller.register(wake_fd, select.POLLIN)
            deadline_s = float("inf") if timeout_s is None else time.monotonic() + timeout_s
            while True:
                left_s = max(0.0, deadline_s - time.monotonic())
                ready = poller.poll(min(left_s, _LONGEST_WAIT_S) * 1000)
                if ready or left_s <= _LONGEST_WAIT_S:
                    return any(fd == pidfd for fd, _ in ready)
        finally:
            os.close(pidfd)

    def _wait_polling(self, wake_fd: int, timeout_s: float | None) -> bool:
        deadline_s = float("inf") if timeout_s is None else time.monotonic() + timeout_s
        poller = select.poll()
        poller.register(wake_fd, select.POLLIN)
        while not self.has_exited():
            if poller.poll(_POLL_S * 1000) or time.monotonic() >= deadline_s:
                return self.has_exited()
        return True

    def has_exited(self) -> bool:
        """Whether the leader has exited; it stays unreaped."""
        if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return False
        self._exited_s = self._exited_s or time.monotonic()
        return True

    def end(self, grace_s: float) -> None:
        """TERM to the group, *grace_s* seconds for all of it to leave, then KILL. Returns when it has gone."""
        self.send(signal.SIGTERM)
        deadline_s = time.monotonic() + grace_s
        pause_s = _POLL_S
        while not (self.has_exited() and not self._has_others()):
            if time.monotonic() >= deadline_s:
                break
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_POLL_S)
        self.send(signal.SIGKILL)

    def send(self, signum: int) -> None:
        """Send a signal to the group; an empty group is no error."""
        with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: EPERM for a group of zombies
            os.killpg(self.pid, signum)

    def reap(self) -> int:
        """Wait for the leader and collect it: its exit code, or minus the signal that ended it."""
        if self._code is None:
            self._code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self._code

    def destroy(self) -> None:
        """KILL to the group, and collect the leader: for an owner that cannot go on. Again changes nothing."""
        if self._code is None:
            with contextlib.suppress(
                ChildProcessError
            ):  # somebody else has collected it: its number may be taken
                self.has_exited()
                self.send(signal.SIGKILL)
                self.reap()

    def has_members(self) -> bool:
        """Whether some of what the leader started runs on. Ask after `reap`: its number is no stranger's then.

        The kernel does not give a number to a new process while a group has it; that an empty group's number
        is taken again between two calls in a row is not to be expected.
        """
        try:
            os.killpg(self.pid, 0)
        except (ProcessLookupError, PermissionError):
            return False
        # A rare case: now those that live are told from those that nobody has reaped yet.
        return _census.has_others(self.pid, time.monotonic())

    def _has_others(self) -> bool:
        """Whether the group, whose leader has exited, has living members."""
        try:
            os.killpg(self.pid, 0)
        except (ProcessLookupError, PermissionError):  # macOS: so it is when all that is left are zombies
            return False
        # What was seen before the leader exited may lack what it started last.
        return _census.has_others(self.pid, self._exited_s or 0.0)


class _Census:
    """Which groups have living members. One look at all processes serves all threads that ask at about that time.

    Hundreds of groups may be ended at once, and each look of its own took the interpreter from all others.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards all below
        self._looked_s = float("-inf")  # when the last look began
        self._took_s = 0.0
        self._groups: set[int] | None = (
            None  # those with living members beside the leader; None: nobody can tell
        )

    def has_others(self, group: int, since_s: float) -> bool:
        """Whether *group* has such members, as seen later than *since_s*. Without /proc: assume so."""
        now_s = time.monotonic()
        with self._lock:
            # Twice what a look takes, or looking would be all we do.
            if self._looked_s < max(since_s, now_s - max(_FRESH_S, 2 * self._took_s)):
                self._looked_s = time.monotonic()
                self._groups = _groups_with_members()
                self._took_s = time.monotonic() - self._looked_s
            return self._groups is None or group in self._groups


def _groups_with_members() -> set[int] | None:
    try:
        names = [name for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 - names only
    except OSError:
        return None
    groups = set()
    for name in names:
        try:
            fd = os.open(
                f"/proc/{name}/stat", os.O_RDONLY | os.O_CLOEXEC
            )  # thousands: half the price of a file
            try:
                state, _, group = os.read(fd, 4096).rpartition(b")")[2].split()[:3]
            finally:
                os.close(fd)
        except (OSError, ValueError):
            continue  # it has just ended
        if state not in (b"Z", b"X") and group != name.encode():
            groups.add(int(group))
    return groups


_census = _Census()
