"""The process behind a worker: it runs one call after the other, until the worker lets go of it or dies.

It imports little, since each one does so anew.
"""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import pickle
import select
import signal
import sys
import threading
from multiprocessing.connection import Connection
from typing import Any

from dynamic_pipeline.attempts import Attempt, Failed, Work, describe, run_attempt
from dynamic_pipeline.executors.elsewhere import sent_back

# Blocked in the server that new processes are forked from, or a signal to the group of the program (`timeout`,
# systemd, a terminal that goes) would end it, and with it all that is known of the processes that run.
KEPT_AWAY = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)
STOP = b""  # sent while a call runs: it should end
_F_SETSIG = 10  # of Linux; `fcntl` does not name it
_PARENT_DIED = 70


def serve(calls: Connection[Any, Any], begun: Connection[Any, Any]) -> None:
    """The life of the process.

    *calls* brings the work, then attempts, one at a time, and takes an answer to each: to the work a text, empty if
    it can be run, to an attempt its outcome. A byte to *begun* says that an attempt has been taken in.
    """
    os.setsid()  # the terminal's Ctrl+C stays away, and all that a call starts can be ended with it
    _leave_with_parent()
    for signum in KEPT_AWAY:
        if (
            signum != signal.SIGQUIT
        ):  # a handler, which programs that a call starts do not inherit, as they would an "ignore"
            signal.signal(signum, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, KEPT_AWAY)
    threading.current_thread().name = multiprocessing.current_process().name
    try:
        try:
            work: Work = pickle.loads(calls.recv_bytes())  # noqa: S301 - the program's own
            work.stop_flags = _AskParent(calls)  # type: ignore[attr-defined]  # for `current_job`
            getattr(work, "load", bool)()
        except EOFError:
            raise
        except BaseException as error:  # the user's module is imported here and may raise anything
            calls.send_bytes(pickle.dumps(describe(error)))
            return
        calls.send_bytes(pickle.dumps(""))
        while True:
            message = calls.recv_bytes()
            os.write(begun.fileno(), b"!")
            calls.send_bytes(_answer(work, message))
    except (EOFError, OSError):  # the worker has let go
        pass
    finally:
        os._exit(0)  # threads that a call has left behind must not keep the process


class _AskParent:
    """The stop flags of the call that runs: it should end once the worker says so, or is gone."""

    def __init__(self, calls: Connection[Any, Any]) -> None:
        self._poller = select.poll()
        self._poller.register(calls.fileno(), select.POLLIN)

    def asks(self, job_id: int) -> bool:  # noqa: ARG002 - the signature is that of `StopFlags`
        return bool(self._poller.poll(0))


def _answer(work: Work, message: bytes) -> bytes:
    try:
        attempt: Attempt = pickle.loads(message)  # noqa: S301 - the program's own
    except BaseException as error:  # whatever a record's own methods raise
        text = f"the record cannot be read: {describe(error)}"
        return pickle.dumps(Failed(text, 0.0, "", is_retryable=False))
    return sent_back(run_attempt(work, attempt))


def _leave_with_parent() -> None:
    """See to it that this process, and its group, ends when the program does, also by `kill -9`.

    Its parent holds the other end of a pipe. On Linux the kernel sends SIGKILL once that is closed: a thread that
    waits for it would not get its turn from a call that holds the interpreter's lock.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None, "called in a child"
    if sys.platform == "linux":
        fd = parent.sentinel
        fcntl.fcntl(fd, fcntl.F_SETOWN, -os.getpid())
        fcntl.fcntl(fd, _F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_ASYNC)
        poller = select.poll()
        poller.register(fd, select.POLLIN)
        if poller.poll(0):  # before we had asked
            os._exit(_PARENT_DIED)
    else:
        threading.Thread(target=_wait_for_end, args=(parent,), daemon=True).start()


def _wait_for_end(parent: Any) -> None:
    parent.join()
    try:
        os.killpg(0, signal.SIGKILL)
    finally:
        os._exit(_PARENT_DIED)
