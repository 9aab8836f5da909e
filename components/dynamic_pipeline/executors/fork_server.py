"""The server that worker processes are forked from: the stdlib's, but one of our own.

Signals to the program's group must not end it, so they are blocked in it, and in what is forked from it until that lets
them through (`child`). The stdlib's one server for everybody would pass that on to a `multiprocessing.Pool` of the
user's, which could then not end its workers. One of our own can also be stopped when nobody needs it any more.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import threading
from collections.abc import Iterator
from multiprocessing import (
    context,
    forkserver,
    popen_forkserver,
    process,
    reduction,
    resource_tracker,
    spawn,
    util,
)
from multiprocessing.context import ForkServerProcess

from dynamic_pipeline.executors.child import KEPT_AWAY

# What a new process has imported already: the server does it once. The first is the program itself, as ever.
PRELOADED = ["__main__", "dynamic_pipeline.executors.child", "dynamic_pipeline.work.callable"]

# Guards what multiprocessing keeps of all processes: each start looks at all others, and of two threads that read the
# exit code of one process at the same time one would be told 255.
registry = threading.Lock()

_server = forkserver.ForkServer()
_server.set_forkserver_preload(PRELOADED)


class ServedProcess(ForkServerProcess):
    """A process that our server forks. `start` it below, and not by its own method."""

    @staticmethod
    def _Popen(process_obj: process.BaseProcess) -> _Popen:  # noqa: N802 - the stdlib's name
        return _Popen(process_obj)


class _Popen(popen_forkserver.Popen):
    """The stdlib's, but for the server: `_launch` is as there."""

    def _launch(self, process_obj: process.BaseProcess) -> None:
        data = io.BytesIO()
        context.set_spawning_popen(self)
        try:
            reduction.dump(spawn.get_preparation_data(process_obj.name), data)
            reduction.dump(process_obj, data)
        finally:
            context.set_spawning_popen(None)
        self.sentinel, to_child = _server.connect_to_new_process(self._fds)  # type: ignore[attr-defined]
        to_parent = os.dup(to_child)  # what the process sees the end of when this one ends
        self.finalizer = util.Finalize(self, util.close_fds, (to_parent, self.sentinel))  # type: ignore[attr-defined]
        with open(to_child, "wb", closefd=True) as file:  # noqa: PTH123 - a descriptor
            file.write(data.getbuffer())
        self.pid = forkserver.read_signed(self.sentinel)


def start(started: ServedProcess) -> None:
    """Start it; `registry` is held.

    Raises:
        OSError: the system does not let us.
    """
    resource_tracker.ensure_running()  # it lets through, when it begins, what is kept away below
    with _signals_kept_away():
        started.start()


def stop() -> None:
    """End the server; `registry` is held, and no process of ours lives. The next `start` begins a new one."""
    pid: int | None = getattr(_server, "_forkserver_pid", None)
    if pid is not None:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)  # it would wait for all that were ever forked from it
        with contextlib.suppress(OSError):  # somebody else has reaped it
            _server._stop()  # type: ignore[attr-defined]  # noqa: SLF001 - as the stdlib's tests do


@contextlib.contextmanager
def _signals_kept_away() -> Iterator[None]:
    """What is started meanwhile has them blocked; the main thread hears them as ever."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, KEPT_AWAY)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
