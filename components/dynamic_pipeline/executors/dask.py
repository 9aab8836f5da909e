"""`--executor dask`: each worker's thread lets its call run on a Dask cluster, and waits for it.

    worker's thread ──submit──> Dask's executor → scheduler → a worker's run_here ──outcome──> worker's thread

So the limit of the pool is the number of calls that the cluster has at once.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from typing import Any

import cloudpickle
from distributed import KilledWorker

from dynamic_pipeline.attempts import Attempt, Work, describe
from dynamic_pipeline.errors import AttemptFailed, Interrupted, IoFault
from dynamic_pipeline.executors.dask_task import end_all, run_here
from dynamic_pipeline.executors.elsewhere import FailedElsewhereForGood, dump, load, value_of
from dynamic_pipeline.executors.turns import Turns
from dynamic_pipeline.owned_thread import OwnedThread

_TRIES = 5  # of a task that somebody cancels
_ANSWER_S = 0.4  # what an end takes to be told, there and back; less than the run's patience beyond the grace
# Between two looks whether a task that nobody tells of is over; a large result may take its time.
_LOOK_S = 60.0


class DaskWork:
    """Runs *work* on the cluster that *client* is connected to, over its `concurrent.futures` executor.

    Called by many workers at once. `abort` may be called by any thread; it lets what runs know that it should end
    (`current_job().should_stop`), and cancels what has not after the grace.

    A worker of the cluster that is lost is an interruption: the scheduler gives its tasks to another one, and nothing
    is charged. What was near too many losses is run alone; only what is lost then, too, has failed.
    """

    keeps_time = True  # of its calls; nobody else needs to

    def __init__(
        self, work: Work, client: Any, *, timeout_s: float | None = None, kill_grace_s: float = 2.0
    ) -> None:
        """
        Args:
            client: a `distributed.Client`.
            work: is pickled, by value where it is of the program itself; records and results are pickled, too.
            timeout_s: for one call, in seconds from its start on the worker. It cannot be ended there: it has failed,
                and is not tried again, while its thread is busy until it returns.
            kill_grace_s: seconds that what runs has to end after `abort`; then it is left behind.

        Raises:
            TypeError: the work cannot be pickled.
        """
        try:
            self._work: bytes = cloudpickle.dumps(work)
        except Exception as error:  # pickle raises of many classes
            raise TypeError(f"it cannot be sent to a cluster: {error}") from error
        # Where the program finds its own modules: its folder, and that of its script.
        self._folders = os.getcwd(), os.path.abspath(sys.path[0] if sys.path else "")  # noqa: PTH100, PTH109 - text
        self._client, self._timeout_s, self._grace_s = client, timeout_s, kill_grace_s
        self._executor = client.get_executor(pure=False)  # equal calls are calls of their own
        self._turns = Turns()
        self._asked: dict[str, _Asked] = {}  # by key of the task
        self._topic = f"dynamic-pipeline-{client.id}-{secrets.token_hex(4)}"
        # Of a client that is not connected the first attempt tells.
        self._is_subscribed = timeout_s is not None and client.status == "running"
        if self._is_subscribed:
            client.subscribe_topic(self._topic, self._is_late)
        self._is_aborted = self._is_lost = False
        self._telling = OwnedThread("dask-abort", self._end_all, lambda *_: None)  # started by an abort
        self._tell_lost: Callable[[IoFault], object] = bool

    def __call__(self, attempt: Attempt) -> Any:
        """One attempt.

        Raises:
            AttemptFailed: it failed there, took too long, or its workers died. Interrupted: the run was forced to stop,
            or the cluster is gone.
        """
        return value_of(load(self._answer(dump(attempt))))

    def _answer(self, message: bytes) -> bytes:
        with contextlib.suppress(KilledWorker), self._turns.take():
            return self._ask(message)
        try:  # what it was lost with may have been another one's fault
            with self._turns.take(alone=True):
                return self._ask(message)
        except KilledWorker:
            raise FailedElsewhereForGood("its worker died, and another one when it ran alone") from None

    def _ask(self, message: bytes) -> bytes:
        """What the cluster answers.

        Raises:
            KilledWorker: it has lost too many workers over it. As `__call__`.
        """
        for _ in range(_TRIES):
            key = f"dynamic-pipeline-job-{secrets.token_hex(8)}"
            asked = self._asked[key] = _Asked()
            try:
                if self._is_aborted:  # noted, then looked: `abort` marks, then wakes all that are noted
                    raise Interrupted("not started")
                answer = self._wait(key, asked, message)
            finally:
                del self._asked[key]
            if answer is not None:
                return answer
        raise AttemptFailed(f"it was cancelled on the cluster, {_TRIES} times")

    def _wait(self, key: str, asked: _Asked, message: bytes) -> bytes | None:
        """The answer; None if somebody has cancelled the task."""
        # It would be kept for as long as the client tries to connect again.
        if self._client.status != "running":
            raise self._lost()
        try:
            future: Future[bytes] = self._executor.submit(
                run_here, self._work, self._folders, message, self._timeout_s, self._topic, key=key
            )
            future.add_done_callback(asked.wake)
            if self._is_over(future, key, asked):
                return future.result()
            future.cancel()
        except KilledWorker:
            raise
        except CancelledError:
            if self._client.status == "running":
                return None
            raise self._lost() from None
        except Exception as error:  # Dask's own, of many classes: the attempt's come back as an outcome
            if self._client.status != "running":
                raise self._lost() from None
            raise AttemptFailed(f"the cluster could not run it: {describe(error)}") from error
        finally:
            # A task whose future is kept is done again when the worker is lost that has its result.
            future = None  # type: ignore[assignment]
        raise self._given_up()

    def _is_over(self, future: Future[bytes], key: str, asked: _Asked) -> bool:
        """Wait for the end of the task; False if it should not be waited for any more."""
        while not asked.wait(_LOOK_S):
            if self._is_stranded(key, asked):
                raise CancelledError
        if self._is_aborted and not future.done():
            asked.wait(self._grace_s + _ANSWER_S)
        return future.done()

    def _given_up(self) -> Exception:
        if self._is_aborted:
            return Interrupted("ended by the forced stop")
        text = (
            f"timeout after {self._timeout_s:g} s; a call on a cluster cannot be ended, so it is left behind"
        )
        return FailedElsewhereForGood(text)

    def _is_stranded(self, key: str, asked: _Asked) -> bool:
        """The task is over, and nobody will tell: Dask's executor forgets a future whose result it could not fetch."""
        state = self._client.futures.get(key)
        was_over, asked.is_over = asked.is_over, state is None or state.status != "pending"
        return was_over and asked.is_over

    def _lost(self) -> Interrupted:
        if not self._is_lost and not self._is_aborted:
            self._is_lost = True
            self._tell_lost(IoFault("the connection to the Dask scheduler is lost"))
        return Interrupted("the cluster is gone")

    def _is_late(self, event: tuple[float, str]) -> None:
        """A worker says so of the task that the event names. On the client's thread."""
        if (asked := self._asked.get(event[1])) is not None:
            asked.wake()

    def when_lost(self, tell: Callable[[IoFault], object]) -> None:
        """Let *tell* hear, once, that the cluster is gone. Before the first attempt."""
        self._tell_lost = tell

    def abort(self) -> None:
        """End all tasks. Returns at once."""
        if not self._is_aborted:
            self._is_aborted = True
            self._turns.end()
            self._telling.start()
            for asked in tuple(self._asked.values()):
                asked.wake()

    def close(self) -> None:
        """Nothing is asked any more. The client is its owner's."""
        self._telling.join(_ANSWER_S)
        if self._is_subscribed and self._client.status == "running":
            with contextlib.suppress(Exception):  # the connection may be lost just now
                self._client.unsubscribe_topic(self._topic)

    def _end_all(self) -> None:
        with contextlib.suppress(Exception):  # who cannot be told sees that its task was cancelled
            self._client.run(end_all, self._topic, on_error="ignore")


class _Asked:
    """Where a worker's thread waits for its task, or for a word about it."""

    def __init__(self) -> None:
        self._bell = threading.Lock()
        self._bell.acquire()
        self.is_over = False  # when it was looked at last, the task was

    def wait(self, timeout_s: float) -> bool:
        return self._bell.acquire(timeout=timeout_s)

    def wake(self, _: object = None) -> None:
        with contextlib.suppress(RuntimeError):  # it has been woken before
            self._bell.release()
