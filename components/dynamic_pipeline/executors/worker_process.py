"""One process that runs one call at a time for the thread that owns it (`child` is its other side)."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import select
import signal
import threading
import time
import weakref
from multiprocessing import connection

from dynamic_pipeline.executors import fork_server
from dynamic_pipeline.executors.child import STOP, serve
from dynamic_pipeline.executors.fork_server import ServedProcess, registry

_REAP_S = 1.0  # until a process that has closed its pipe, or was killed, is given up
_END_S = 0.1  # between the end of a pipe and that of the process that has died
_LONGEST_POLL_S = 86_400.0  # the kernel counts milliseconds in 31 bits, which are 24 days


class Died(Exception):
    """The process has ended: by itself, or killed from outside."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code  # the exit code, or minus the signal that ended it


class _Child:
    """A process that was started, as far as any thread may deal with it."""

    def __init__(self, process: ServedProcess) -> None:
        assert process.pid is not None, "it was started"
        self._process, self.pid = process, process.pid
        # Readable when it has ended. Not the sentinel where the system has better: that tells of the end of the server
        # too that processes are forked from.
        try:
            self.end_fd = os.pidfd_open(self.pid)
        except (AttributeError, OSError):  # not Linux, or it is over already
            self.end_fd = os.dup(process.sentinel)

    def has_ended(self, timeout_s: float = 0.0) -> bool:
        """Whether it has, within *timeout_s* seconds."""
        poller = select.poll()
        poller.register(self.end_fd, select.POLLIN)
        return bool(poller.poll(timeout_s * 1000))

    def exit_code(self) -> int:
        """Of one that has ended: the code, or minus the signal that ended it; 255 if the server that knew has gone."""
        connection.wait([self._process.sentinel], _REAP_S)
        with registry:
            code = self._process.exitcode
        return 255 if code is None else code

    def signal_group(self, signum: int) -> None:
        """To it and all that it has started.

        Its number is not given to a new process while its group has members; that an empty group's number is taken
        again in the moment since its end was seen is not to be expected.
        """
        with contextlib.suppress(OSError):  # nobody is left
            os.killpg(self.pid, signum)
            return
        if not self.has_ended():  # it has not made its group yet
            with contextlib.suppress(OSError):
                os.kill(self.pid, signum)

    def forget(self) -> None:
        """Let go of the descriptors of one that has ended; `registry` is held."""
        os.close(self.end_fd)
        if self._process.exitcode is not None:
            self._process.close()


_users = 0  # of the server, under `registry`


class Processes:
    """Those that were started and are not known to be over. Any thread may call it."""

    def __init__(self) -> None:
        # Under `registry`; a process leaves when nobody is left who owns it.
        self._all: dict[_Child, weakref.ref[WorkerProcess]] = {}
        self._is_used = False  # by a process that needs the server

    def start(self, process: ServedProcess, owner: WorkerProcess) -> _Child:
        """Start it. Raises OSError: the system does not let us."""
        global _users  # noqa: PLW0603 - of the one server
        with registry:
            self._forget_ended()
            _users += not self._is_used
            self._is_used = True
            fork_server.start(process)
            child = _Child(process)
            self._all[child] = weakref.ref(owner)
            return child

    def _forget_ended(self) -> None:
        for child, its in tuple(self._all.items()):
            if its() is None and child.has_ended():
                del self._all[child]
                child.forget()

    def kill(self) -> None:
        """KILL to all, each with its group. Returns at once."""
        for child in tuple(self._all):
            if not child.has_ended():
                child.signal_group(signal.SIGKILL)

    def join(self) -> None:
        """Let go of all and wait until they have left; kill those that do not."""
        deadline_s = time.monotonic() + _REAP_S
        for its in tuple(self._all.values()):
            if (owner := its()) is not None:
                owner.let_go()
        for child in tuple(self._all):
            if not child.has_ended(max(0.0, deadline_s - time.monotonic())):
                child.signal_group(signal.SIGKILL)
                child.has_ended(_REAP_S)
            child.exit_code()
        global _users  # noqa: PLW0603 - same
        with registry:
            for child in self._all:
                child.forget()
            self._all = {}
            _users -= self._is_used
            self._is_used = False
            if not _users:
                fork_server.stop()


class WorkerProcess:
    """A process, seen by its owner. Once it is forgotten the process has nobody to listen to, and leaves."""

    def __init__(self, processes: Processes) -> None:
        """Start one.

        Raises:
            OSError: the system does not let us.
        """
        self._calls, calls = multiprocessing.Pipe()
        try:
            self._begun, begun = multiprocessing.Pipe(duplex=False)
        except OSError:
            self._begun = self._calls  # for `let_go`
            calls.close()
            raise
        name = threading.current_thread().name
        process = ServedProcess(target=serve, args=(calls, begun), name=name)
        try:
            self._child = processes.start(process, self)
        except BaseException:
            self._calls.close()
            self._begun.close()
            raise
        finally:
            calls.close()
            begun.close()
        self.is_spent = False  # it takes no more calls: it has died, or was ended
        self._poller = select.poll()
        for fd in (self._calls.fileno(), self._child.end_fd):
            self._poller.register(fd, select.POLLIN)

    def __del__(self) -> None:
        self.let_go()

    def let_go(self) -> None:
        """The process sees that nobody asks any more, and leaves. Again changes nothing."""
        self.is_spent = True
        self._calls.close()
        self._begun.close()

    def has_died(self) -> bool:
        """Whether it is over, or has died while it had nothing to do."""
        return self.is_spent or bool(self._poller.poll(0))

    def send(self, message: bytes) -> None:
        """Give it something to do. One that is dead does not take it, which `wait` tells."""
        with contextlib.suppress(OSError):
            self._calls.send_bytes(message)

    def wait(self, timeout_s: float | None, wake_fd: int) -> bytes | None:
        """Its answer; None if there is none within *timeout_s* seconds, or *wake_fd* is readable first.

        Raises:
            Died: it has ended without one.
        """
        self._poller.register(wake_fd, select.POLLIN)
        try:
            ready = self._poll(timeout_s)
        finally:
            self._poller.unregister(wake_fd)
        if self._calls.fileno() in ready:
            with contextlib.suppress(EOFError, OSError):
                return self._calls.recv_bytes()
        elif self._child.end_fd not in ready:
            return None
        self.is_spent = True
        self._child.has_ended(_END_S)
        # Its call is over, and so is what that had started; it may itself live, and only have closed the pipe.
        self._child.signal_group(signal.SIGKILL)
        self._child.has_ended(_REAP_S)
        raise Died(self._child.exit_code())

    def note_begun(self) -> bool:
        """Whether the attempt that was sent last has begun; to be asked once for each, when it has ended."""
        return self._begun.poll(0) and self.take_begun()

    def take_begun(self) -> bool:
        """The same of one that was answered, and so has begun: it costs a tenth."""
        return bool(os.read(self._begun.fileno(), 1))

    def end(self, grace_s: float) -> None:
        """Tell the call to end, and what it has started; after *grace_s* seconds kill all of it. Blocks until then."""
        self.is_spent = True
        self.send(STOP)
        self._child.signal_group(signal.SIGTERM)
        self._poll(grace_s)
        self._child.signal_group(signal.SIGKILL)
        self._child.has_ended(_REAP_S)

    def _poll(self, timeout_s: float | None) -> set[int]:
        """Which descriptors are readable; empty when the time is up."""
        deadline_s = float("inf") if timeout_s is None else time.monotonic() + timeout_s
        while True:
            left_s = max(0.0, deadline_s - time.monotonic())
            ready = self._poller.poll(min(left_s, _LONGEST_POLL_S) * 1000)
            if ready or left_s <= _LONGEST_POLL_S:
                return {fd for fd, _ in ready}
