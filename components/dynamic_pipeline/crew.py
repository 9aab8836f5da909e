"""The threads of a pool, and how they find work: a deque of calls, a stack of parked workers, one lock.

    append ──> calls ──popleft──> worker ──set_result──> LeanFuture
       └─ wakes one parked worker, or starts a thread while there are fewer than the limit

Guarantees
* A call that was taken in runs once, or its future is cancelled or broken; none is forgotten.
* Never more threads than the limit, but for those that still finish a call after a shrink.
* A shrink takes effect between two calls; no call is interrupted.
* Names are drawn once per thread, so with an endless iterator none is used twice.
"""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import _base as stdlib
from concurrent.futures.thread import BrokenThreadPool
from typing import Any

from dynamic_pipeline.lean_future import LeanFuture

_Call = tuple[LeanFuture, Callable[..., Any], tuple[Any, ...], dict[str, Any]]


class Crew:
    """What the workers share. It does not know the executor, so a forgotten executor can be collected."""

    def __init__(
        self,
        limit: int,
        names: Iterator[str],
        initializer: Callable[..., object] | None,
        initargs: tuple[Any, ...],
    ) -> None:
        self.lock = threading.Lock()  # guards limit and threads
        self.calls: deque[_Call] = deque()  # append by any submitter, popleft by any worker
        self.parked: list[Any] = []  # locks of idle workers, newest last; whoever pops one must release it
        self.on_its_way = False  # a woken worker has not looked at `calls` yet
        self.limit = limit
        self.threads: set[threading.Thread] = set()
        self.retired: list[threading.Thread] = []  # off the crew, and about to end
        self.surplus = False  # more threads than the limit
        self.closing = False  # workers leave once `calls` is empty
        self.refuses = False  # closing or broken: what is appended is taken out again
        self.broken = ""
        self.names = names
        self.initializer = initializer
        self.initargs = initargs
        _crews.add(self)

    def append(self, call: _Call) -> None:
        """Let some worker take *call*. Takes no lock while there are enough threads."""
        self.calls.append(call)
        if self.refuses:
            # Append, then look: workers leave when they see `closing` and then no call. If a worker or
            # `take_back` was faster than this removal, the call has its end already.
            with contextlib.suppress(ValueError):
                self.calls.remove(call)
                raise self.refusal()
        if self.parked:
            # One woken worker that has yet to look is enough: it wakes the next if it finds more than it
            # can take. It clears `on_its_way` before it looks, so either we see the flag cleared and wake
            # somebody, or it sees our call.
            if not self.on_its_way:
                self.wake_one()
        elif len(self.threads) < self.limit:
            with self.lock:
                if len(self.threads) < self.limit and not self.start_thread() and not self.threads:
                    with contextlib.suppress(ValueError):
                        self.calls.remove(call)  # nobody is there to take it
                    raise RuntimeError("can't start new thread")

    def refusal(self) -> RuntimeError:
        if self.broken:
            return BrokenThreadPool(self.broken)
        when = "interpreter shutdown" if _interpreter_exits else "shutdown"
        return RuntimeError(f"cannot schedule new futures after {when}")

    def wake_one(self) -> bool:
        """Wake the worker that parked last: its stack is warm and the others may sleep on."""
        try:
            bell = self.parked.pop()
        except IndexError:
            return False
        self.on_its_way = True
        bell.release()
        return True

    def start_thread(self, *, helps: bool = False) -> bool:
        """Start one worker; the caller holds the lock. False where the system allows no more threads.

        With *helps* it calls for help if it finds more than it can take. One that was started for a call of
        its own need not, and must not: the others have theirs, and a thousand who start would all stand in
        line for the lock, each with a call in its hands.
        """
        thread = threading.Thread(name=next(self.names), target=_work, args=(self, helps))
        if self.threads:  # the first is waited for: CPython's tests rely on a pool that has begun its work
            thread._started = _Begun()  # type: ignore[attr-defined]  # noqa: SLF001 - see there
        self.threads.add(thread)
        try:
            thread.start()
        except RuntimeError:  # out of threads or memory, or the interpreter exits: go on with those we have
            self.threads.discard(thread)
            return False
        return True

    def call_for_help(self) -> None:
        """A worker found more calls than it can take: wake the next one, or start it."""
        if not self.wake_one() and len(self.threads) < self.limit:
            with self.lock:
                if len(self.threads) < self.limit and not self.closing:
                    self.start_thread(helps=True)

    def retire(self) -> bool:
        """Take the calling worker off the crew if there are too many; one idle worker is woken at a time."""
        with self.lock:
            self.surplus = len(self.threads) > self.limit
            if not self.surplus:
                return False
            self.threads.discard(threading.current_thread())
            self.retired = [thread for thread in self.retired if thread.is_alive()]
            self.retired.append(threading.current_thread())
            self.surplus = len(self.threads) > self.limit
        self.on_its_way = False
        if self.surplus or self.calls or self.closing:
            self.wake_one()
        return True

    def resize(self, limit: int) -> None:
        with self.lock:
            self.limit = limit
            for _ in range(min(limit - len(self.threads), len(self.calls))):
                if not self.start_thread():
                    break
            self.surplus = len(self.threads) > limit
        if self.surplus:
            self.wake_one()

    def close(self) -> None:
        """Let every worker leave once `calls` is empty. Takes no lock: a garbage collection may call it."""
        self.refuses = True  # first: a worker that sees `closing` leaves
        self.closing = True
        self.wake_one()  # whoever leaves wakes the next: a thousand at once would fight for the interpreter

    def join(self) -> None:
        """Wait until all workers have ended, those too that a late `resize` or call for help has started.

        The list is copied under the lock: one may just be starting.
        """
        ended: set[threading.Thread] = set()
        while True:
            with self.lock:
                threads = {*self.threads, *self.retired} - ended
            if not threads:
                return
            for thread in threads:
                thread.join()
            ended |= threads

    def break_(self, why: str) -> None:
        self.broken, self.refuses = why, True
        for future, *_ in self.take_back():
            if future.set_running_or_notify_cancel():
                future.set_exception(BrokenThreadPool(why))

    def take_back(self) -> Iterator[_Call]:
        while True:
            try:
                yield self.calls.popleft()
            except IndexError:
                return


class _Begun(threading.Event):
    """In the place of a thread's `_started`: lets `Thread.start` return without waiting for the new thread.

    That wait is for a turn of the interpreter, behind all workers that are at work already; with hundreds
    of them it was most of what a start took.

    1. `start` asks `is_set`, starts the thread, and then calls `wait`: we only note that it did.
    2. Whoever asks `is_set` from then on (`join`, `is_alive`) waits for `set`, the first act of the thread.

    So nobody but `start` sees a thread that has not begun. A Python that kept the event under another name
    would wait again, and nothing else.
    """

    _was_started = False

    def wait(self, timeout: float | None = None) -> bool:  # noqa: ARG002 - the signature is the stdlib's
        self._was_started = True
        return True

    def is_set(self) -> bool:
        return super().wait() if self._was_started else super().is_set()


def _work(crew: Crew, was_woken: bool) -> None:  # noqa: C901 - the hot loop; a call per step would cost more than the step
    """The life of one worker thread; while *was_woken* it has been woken, and has not looked at `calls` since."""
    if crew.initializer is not None:
        try:
            crew.initializer(*crew.initargs)
        except BaseException:  # as in the stdlib: whatever it was, the pool is unusable
            stdlib.LOGGER.critical("Exception in initializer:", exc_info=True)
            crew.break_("A thread initializer failed, the thread pool is not usable anymore")
            return
    calls, take = crew.calls, crew.calls.popleft
    bell = threading.Lock()
    bell.acquire()
    while True:
        if crew.surplus and crew.retire():
            return
        try:
            future, fn, args, kwargs = take()
        except IndexError:
            if was_woken:
                was_woken = crew.on_its_way = False
            if crew.closing and not calls:  # in this order: what is appended after `closing` is taken out
                crew.wake_one()
                return
            # 1. we park; 2. we look again; 3. we sleep. Who appends a call between 1 and 3 finds our
            # bell and rings it; who did so before 1 is seen in 2.
            crew.parked.append(bell)
            if calls or crew.closing or crew.surplus:
                try:
                    crew.parked.remove(bell)
                except ValueError:
                    bell.acquire()  # somebody has it already and is about to ring
            else:
                bell.acquire()
            # Also if nobody rang: two submitters may both have seen our bell and left it at that, so if
            # there is more than we can take, the call for help is ours to make.
            was_woken = True
            continue
        if was_woken:
            was_woken = crew.on_its_way = False
            if calls:
                crew.call_for_help()
        future.run(fn, args, kwargs)
        del future, fn, args, kwargs  # an idle worker must not keep the last call alive


_crews: weakref.WeakSet[Crew] = weakref.WeakSet()
_interpreter_exits = False


def _close_all() -> None:
    """Let all workers end before the interpreter joins them, as the stdlib's pool does."""
    global _interpreter_exits  # noqa: PLW0603 - one interpreter, one end
    _interpreter_exits = True
    crews = tuple(_crews)
    for crew in crews:
        if not crew.limit:  # a pause would keep what waits from ever ending
            crew.resize(1)
        crew.close()
    for crew in crews:
        crew.join()


# The hook of the stdlib's own pool: it runs before non-daemon threads are joined; `atexit` runs after.
threading._register_atexit(_close_all)  # type: ignore[attr-defined]  # noqa: SLF001
if hasattr(os, "register_at_fork"):
    # A forked child has no workers, and a lock of a crew may have been held by one of them.
    os.register_at_fork(after_in_child=_crews.clear)
