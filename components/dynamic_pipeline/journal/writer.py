"""The journal's thread: others post what happened, and hear when it is safe."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from time import monotonic
from typing import Any, NamedTuple

from dynamic_pipeline.handover import Handover
from dynamic_pipeline.journal.answers import Answer
from dynamic_pipeline.journal.faults import JournalError, JournalStuck
from dynamic_pipeline.journal.operations import Operation
from dynamic_pipeline.journal.store import Store
from dynamic_pipeline.owned_thread import OwnedThread

MOST_OPERATIONS = 512  # of one transaction
RETRY_FOR_S = 60.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.25, 5.0

Then = Callable[[Answer | JournalError], object]


class _Posted(NamedTuple):
    operation: Operation | None  # None: the end
    then: Then


class JournalWriter:
    """Owns a `Store`, from `start` until `close` has returned; any thread may `post`.

    Everything that waits is one transaction. There is no timer: while one commits the next gathers, so the
    wait is one commit and the size of a batch follows the load. An operation is answered exactly once, on the
    journal's thread, in the order of posting: by what the store says after the commit, or by the error
    after which nothing can be recorded any more.
    """

    def __init__(
        self,
        store: Store,
        *,
        on_crash: Callable[[str, BaseException], object],
        on_trouble: Callable[[str], object] = bool,
        on_recovered: Callable[[], object] = bool,
        retry_for_s: float = RETRY_FOR_S,
        now: Callable[[], float] = monotonic,
        pause: Callable[[float], object] | None = None,
    ) -> None:
        self._store = store
        self._posted: Handover[_Posted] = Handover()
        self._on_crash, self._on_trouble, self._on_recovered = on_crash, on_trouble, on_recovered
        self._retry_for_s, self._now = retry_for_s, now
        self._is_in_a_hurry = threading.Event()  # set once a stuck journal is not worth waiting for any more
        self._pause = pause or self._is_in_a_hurry.wait
        self._thread = OwnedThread("journal", self.run, on_crash)
        self._is_closed = False
        self._has_ended = False
        self.error: JournalError | None = None  # since it gave up; others may read it, and may be late

    @property
    def is_closed(self) -> bool:
        return self._is_closed

    def start(self) -> None:
        self._thread.start()

    def post(self, operation: Operation, then: Then = bool) -> None:
        """Hand *operation* over; never blocks. *then* must be quick: all others wait behind it."""
        assert not self._is_closed, "posted after the end"
        self._posted.put(_Posted(operation, then))

    def post_all(self, posted: Iterable[tuple[Operation, Then]]) -> None:
        """Hand several over with one wake-up."""
        assert not self._is_closed, "posted after the end"
        self._posted.put_all([_Posted(*pair) for pair in posted])

    def hurry(self) -> None:
        """Do not wait for a stuck journal any longer: try once more, then give up. Any thread may call it."""
        self._is_in_a_hurry.set()

    def close(self, timeout_s: float | None = None) -> bool:
        """Do all that was posted, close the file, wait for it *timeout_s* seconds at the most; whether it has ended.

        Not for the journal's own thread. `error` tells whether all was recorded.
        """
        if not self._is_closed:
            self._is_closed = True
            self._posted.put(_Posted(None, bool))
        return self._thread.join(timeout_s)

    def run(self) -> None:
        """The thread: until the end was posted, and all before it was done."""
        while not self._has_ended:
            waiting = self._posted.take_wait()
            for at in range(0, len(waiting), MOST_OPERATIONS):
                self.step(waiting[at : at + MOST_OPERATIONS])

    def step(self, waiting: list[Any]) -> None:
        """Do what was posted, in one transaction, then answer."""
        batch = [posted for posted in waiting if posted.operation is not None]
        self._has_ended = len(batch) < len(waiting)
        if batch:
            answers = self._commit([posted.operation for posted in batch])
            for (_, then), answer in zip(batch, answers, strict=True):
                try:
                    then(answer)
                except BaseException as error:  # the others must be answered too
                    self._give_up(error)
        if self._has_ended and self.error is None:
            try:
                self._store.close()
            except JournalError as error:
                self.error = error
            except BaseException as error:
                self._give_up(error)

    def _give_up(self, fault: BaseException) -> None:
        """An error of ours: it is told at once; whoever waits for an answer gets one, now and later."""
        if self.error is None:
            self.error = JournalError(f"given up after an error of ours: {fault!r}")
        self._store.abandon()
        self._on_crash("journal", fault)

    def _commit(self, operations: list[Operation]) -> list[Any]:
        """The answers; the same error for all once the journal is given up."""
        if self.error is None:
            try:
                return self._persist(operations)
            except JournalError as error:
                self.error = error
                self._store.abandon()
            except BaseException as error:
                self._give_up(error)
        return [self.error] * len(operations)

    def _persist(self, operations: list[Operation]) -> list[Answer]:
        """Try until it works: a full disk may be freed. The batch stays as it is, and what follows waits."""
        deadline_s: float | None = None
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                answers = self._store.apply(operations)
            except JournalStuck as error:
                if deadline_s is None:
                    deadline_s = self._now() + self._retry_for_s
                    self._on_trouble(str(error))
                if self._is_in_a_hurry.is_set() or self._now() >= deadline_s:
                    raise
                self._pause(min(pause_s, max(0.0, deadline_s - self._now())))
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            else:
                if deadline_s is not None:
                    self._on_recovered()
                return answers
