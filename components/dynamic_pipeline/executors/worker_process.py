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
from collections.abc import Iterator
from multiprocessing import connection
from multiprocessing.context import ForkServerProcess

from dynamic_pipeline.executors.child import KEPT_AWAY, STOP, serve

_REAP_S = 1.0  # until a process that has closed its pipe, or was killed, is given up
_LONGEST_POLL_S = 86_400.0  # the kernel counts milliseconds in 31 bits, which are 24 days

# Guards what multiprocessing keeps of all processes: each start looks at all others, and of two threads that read the
# exit code of one process at the same time one would be told 255.
_registry = threading.Lock()


class Died(Exception):
    """The process has ended: by itself, or killed from outside."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code  # the exit code, or minus the signal that ended it


class Processes:
    """Those that were started and are not known to be over. Any thread may call it."""

    def __init__(self) -> None:
        # Under `_registry`; a process leaves when nobody is left who owns it.
        self._all: dict[ForkServerProcess, weakref.ref[WorkerProcess]] = {}

    def start(self, process: ForkServerProcess, owner: WorkerProcess) -> None:
        """Start it. Raises OSError: the system does not let us."""
        with _registry, _signals_kept_away():
            self._all = {other: its for other, its in self._all.items() if other.exitcode is None}
            process.start()
            self._all[process] = weakref.ref(owner)

    def kill(self) -> None:
        """KILL to all, each with its group. Returns at once."""
        for process in tuple(self._all):
            if _exit_code(process, 0.0) is None:
                _signal_group(process, signal.SIGKILL)

    def join(self) -> None:
        """Let go of all and wait until they have left; kill those that do not."""
        deadline_s = time.monotonic() + _REAP_S
        for its in self._all.values():
            if (owner := its()) is not None:
                owner.let_go()
        for process in tuple(self._all):
            if _exit_code(process, max(0.0, deadline_s - time.monotonic())) is None:
                _signal_group(process, signal.SIGKILL)
                _exit_code(process, _REAP_S)
        self._all = {}


class WorkerProcess:
    """A process, seen by its owner. Once it is forgotten the process has nobody to listen to, and leaves."""

    def __init__(self, processes: Processes) -> None:
        """Start one.

        Raises:
            OSError: the system does not let us.
        """
        context = multiprocessing.get_context("forkserver")  # a fork of a program with threads may deadlock
        self._calls, calls = context.Pipe()
        self._begun, begun = context.Pipe(duplex=False)
        name = threading.current_thread().name
        self._process = context.Process(target=serve, args=(calls, begun), name=name)
        try:
            processes.start(self._process, self)
        except BaseException:
            self._calls.close()
            self._begun.close()
            raise
        finally:
            calls.close()
            begun.close()
        self.is_spent = False  # it takes no more calls: it has died, or was ended
        self._end_fd = _end_of(self._process)
        self._poller = select.poll()
        for fd in (self._calls.fileno(), self._end_fd):
            self._poller.register(fd, select.POLLIN)

    def __del__(self) -> None:
        self.let_go()

    def let_go(self) -> None:
        """The process sees that nobody asks any more, and leaves. Again changes nothing."""
        self.is_spent = True
        self._calls.close()
        self._begun.close()
        if (fd := getattr(self, "_end_fd", -1)) >= 0 and fd != self._process.sentinel:
            self._end_fd = -1
            os.close(fd)

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
        elif self._end_fd not in ready:
            return None
        self.is_spent = True
        code = _exit_code(self._process, _REAP_S)
        if code is None:  # it has closed the pipe, and lives
            self._signal(signal.SIGKILL)
            code = _exit_code(self._process, _REAP_S)
        raise Died(-signal.SIGKILL if code is None else code)

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
        self._signal(signal.SIGTERM)
        self._poll(grace_s)
        self._signal(signal.SIGKILL)
        _exit_code(self._process, _REAP_S)

    def _poll(self, timeout_s: float | None) -> set[int]:
        """Which descriptors are readable; empty when the time is up."""
        deadline_s = float("inf") if timeout_s is None else time.monotonic() + timeout_s
        while True:
            left_s = max(0.0, deadline_s - time.monotonic())
            ready = self._poller.poll(min(left_s, _LONGEST_POLL_S) * 1000)
            if ready or left_s <= _LONGEST_POLL_S:
                return {fd for fd, _ in ready}

    def _signal(self, signum: int) -> None:
        if _exit_code(self._process, 0.0) is None:
            _signal_group(self._process, signum)


def _end_of(process: ForkServerProcess) -> int:
    """A descriptor that is readable when the process has ended.

    Not the sentinel, where the system has better: that tells of the end of the server too that processes are forked
    from.
    """
    assert process.pid is not None, "it was started"
    try:
        return os.pidfd_open(process.pid)
    except (AttributeError, OSError):  # not Linux, or it is over already
        return process.sentinel


def _exit_code(process: ForkServerProcess, timeout_s: float) -> int | None:
    """How it ended; None if it has not within *timeout_s* seconds."""
    connection.wait([process.sentinel], timeout_s)
    with _registry:
        return process.exitcode


def _signal_group(process: ForkServerProcess, signum: int) -> None:
    """To a process that lives: so its number, and that of its group, is not a stranger's."""
    assert process.pid is not None, "it was started"
    try:
        os.killpg(process.pid, signum)
    except ProcessLookupError:  # it has not made its group yet
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signum)
    except PermissionError:  # macOS: a group of zombies
        pass


@contextlib.contextmanager
def _signals_kept_away() -> Iterator[None]:
    """What is started meanwhile has them blocked; the main thread hears them as ever."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, KEPT_AWAY)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
