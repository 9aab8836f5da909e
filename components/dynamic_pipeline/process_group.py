"""One child process in a session of its own: started, waited for, and ended with all that it started.

The session keeps the terminal's Ctrl+C away from it. Its leader is reaped last: until then its process
group cannot be reused by a stranger, so a signal to the group never hits one.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Mapping

_RESTORED = (signal.SIGPIPE, signal.SIGXFSZ)  # Python ignores these, and a program would inherit that
_POLL_S = 0.02  # between two looks where the kernel cannot wake us
_LONGEST_POLL_S = 0.2  # a look may read all of /proc, and a thousand groups may be looked at at once


class ProcessGroup:
    """A command that runs. Owned by the thread that started it.

    Args:
        file: what is run; a name without a slash is looked for in PATH.
        argv, env: as the program sees them.
        stdout, stderr: descriptors that become the program's; it reads from the null device.

    Raises:
        OSError: it cannot be started. ValueError: an argument holds a NUL byte.
    """

    def __init__(
        self, file: bytes, argv: list[bytes], env: Mapping[str, str], stdout: int, stderr: int
    ) -> None:
        self._code: int | None = None  # from `reap` on: its number may be a stranger's
        # In place of `subprocess.Popen`, half of whose time goes into the environment and a pipe for errors
        # (`tests/benchmarks/commands.py`). It closes no descriptors: see `descriptors.keep_to_ourselves`.
        actions = (
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, stdout, 1),
            (os.POSIX_SPAWN_DUP2, stderr, 2),
        )
        self.pid = os.posix_spawnp(  # of the leader, and so the number of the group
            file, argv, env, file_actions=actions, setsid=True, setsigdef=_RESTORED
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
            ready = poller.poll(None if timeout_s is None else timeout_s * 1000)
        finally:
            os.close(pidfd)
        return any(fd == pidfd for fd, _ in ready)

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
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

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

    def has_members(self) -> bool:
        """Whether some of what the leader started runs on. Ask after `reap`: its number is no stranger's then.

        The kernel does not give a number to a new process while a group has it; that an empty group's number
        is taken again between two calls in a row is not to be expected.
        """
        try:
            os.killpg(self.pid, 0)
        except (ProcessLookupError, PermissionError):
            return False
        return (
            self._has_others()
        )  # a rare case: then /proc tells those that live from those nobody has reaped yet

    def _has_others(self) -> bool:
        """Whether the group has living members beside the leader. Without /proc nobody can tell: assume so."""
        try:
            entries = [name for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 - names only
        except OSError:
            return True
        for name in entries:
            try:
                with open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123 - bytes, thousands of them
                    state, _, pgrp = file.read().rpartition(b")")[2].split()[:3]
            except (OSError, ValueError):
                continue  # it has just ended
            if int(pgrp) == self.pid and int(name) != self.pid and state not in (b"Z", b"X"):
                return True
        return False
