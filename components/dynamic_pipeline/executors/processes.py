"""`--executor processes`: each worker's thread lets its calls run in a process of its own.

    worker's thread ──attempt──> process: run_attempt ──outcome──> worker's thread

The pool stays that of threads, so that resizing, draining and all else are as ever. A process that dies is missed by
the one thread that waits for it: no other call is touched, no pool is to be rebuilt, and the culprit is known.
"""

from __future__ import annotations

import os
import pickle
import threading
from typing import Any

from dynamic_pipeline.attempts import Attempt, Work
from dynamic_pipeline.errors import AttemptFailed, Interrupted
from dynamic_pipeline.executors.elsewhere import FailedElsewhereForGood, dump, load, value_of
from dynamic_pipeline.executors.worker_process import Died, Processes, WorkerProcess
from dynamic_pipeline.work.local_commands import describe_code

_TRIES = 3  # processes that may die before an attempt has begun


class ProcessWork:
    """Runs *work* in processes, one for each thread that calls.

    Called by many workers at once. `abort` may be called by any thread; it ends what runs and what would still start.
    """

    keeps_time = True  # of its calls; nobody else needs to

    def __init__(self, work: Work, *, timeout_s: float | None = None, kill_grace_s: float = 2.0) -> None:
        """
        Args:
            work: is pickled, as are records and results; an attempt of which one cannot be has failed.
            timeout_s: for one attempt, in seconds; then it is ended.
            kill_grace_s: seconds from telling a call to end (`current_job().should_stop`, and TERM to what it has
                started) until its process is killed, with its group.

        Raises:
            TypeError: the work cannot be pickled.
        """
        try:
            self._work = pickle.dumps(work, pickle.HIGHEST_PROTOCOL)
        except Exception as error:  # pickle raises of many classes
            raise TypeError(f"it cannot be sent to a process: {error}") from error
        self._timeout_s = timeout_s
        self._kill_grace_s = kill_grace_s
        # What is written to it is never read, and so wakes every worker's poll.
        self._wake_fd, self._abort_fd = os.pipe()
        self._is_aborted = self._is_closed = False
        self._own = threading.local()  # .process: of the thread; when that ends, it is let go of
        self._processes = Processes()

    def __call__(self, attempt: Attempt) -> Any:
        """One attempt.

        Raises:
            AttemptFailed: it failed there, took too long, or its process died. Interrupted: the run was forced to stop.
        """
        message = dump(attempt)
        for _ in range(_TRIES):
            process = self._process()
            if process is None:
                continue
            try:
                answer = self._ask(process, message, self._timeout_s)
            except Died as died:
                if self._is_aborted:  # it was killed for that
                    raise Interrupted("ended by the forced stop") from None
                if process.note_begun():
                    raise AttemptFailed(f"its process died: {describe_code(died.code)}") from None
                continue  # not the attempt's fault: something has killed a process that had nothing to do
            process.take_begun()
            return value_of(load(answer))
        raise AttemptFailed(f"{_TRIES} processes died before the call began")

    def _process(self) -> WorkerProcess | None:
        """The calling thread's own; a new one where it has none, or lost it; None if that died as it began."""
        process: WorkerProcess | None = getattr(self._own, "process", None)
        if self._is_aborted:
            raise Interrupted("not started")
        if process is not None and not process.has_died():
            return process
        try:
            self._own.process = process = WorkerProcess(self._processes)
        except OSError as error:  # out of processes, memory or descriptors: another try may help
            raise AttemptFailed(f"cannot start a process: {error.strerror or error}") from error
        try:
            problem = pickle.loads(self._ask(process, self._work, None))  # noqa: S301 - of our own child
        except Died:
            return None
        if problem:
            process.is_spent = True
            raise FailedElsewhereForGood(f"it cannot be run in a process: {problem}")
        return process

    def _ask(self, process: WorkerProcess, message: bytes, timeout_s: float | None) -> bytes:
        """What *process* answers to *message*; ended if it does not in time, or the run is forced to stop."""
        process.send(message)
        answer = process.wait(timeout_s, self._wake_fd)
        if answer is None:
            process.end(self._kill_grace_s)
            if self._is_aborted:  # also if it has still returned: what it had started was ended under it
                raise Interrupted("ended by the forced stop")
            raise AttemptFailed(f"timeout after {timeout_s:g} s")
        return answer

    def abort(self) -> None:
        """End all running calls: they are told, have the grace, and are killed. Returns at once."""
        if not (self._is_aborted or self._is_closed):
            self._is_aborted = True
            os.write(self._abort_fd, b"!")

    def kill(self) -> None:
        """The last resort, before the program leaves at once: KILL to every process and its group."""
        self._processes.kill()

    def close(self) -> None:
        """Wait until all processes have left. Call it when no thread calls any more; again changes nothing."""
        if not self._is_closed:
            self._is_closed = True
            self._processes.join()
            os.close(self._wake_fd)
            os.close(self._abort_fd)
