"""`ResizableThreadPoolExecutor`: the stdlib's thread pool, with `resize(limit)`.

Threads meet in one `_Crew`: a deque of calls, a stack of parked workers, one lock.

    submit ──append──> calls ──popleft──> worker ──set_result──> Future
       └─ wakes one parked worker, or starts a thread while there are fewer than the limit

Guarantees
* A submitted call runs once or its future is cancelled or broken; none is forgotten.
* Never more threads than the limit, but for those that still finish a call after a shrink.
* A shrink takes effect between two calls; no call is interrupted.
* Worker names are never used twice in one executor.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from concurrent.futures import _base as stdlib
from concurrent.futures.thread import BrokenThreadPool
from typing import Any, TypeVar

_T = TypeVar("_T")
_Call = tuple["_Future", Callable[..., Any], tuple[Any, ...], dict[str, Any]]
_PENDING, _FINISHED = stdlib.PENDING, stdlib.FINISHED
_making_condition = threading.Lock()


class _Future(Future[Any]):
    """A stdlib future that takes no lock until somebody waits for it or asks for its state.

    A `Condition` is most of what a stdlib future costs, and one with a done-callback rarely has a waiter.
    Here two tokens stand for the two steps that a worker makes, and a pop of a list is atomic:

    1. The worker pops one to begin and one to finish; it writes the result before it pops the second.
    2. Whoever needs the condition (a waiter, `cancel`, `running`, …) first pops all that is left. The
       number tells how far the worker was: 2 pending, 1 running, 0 finished; that state is written down,
       and only then is the condition published.
    3. A worker that finds no token goes the stdlib's way from there on, under the condition.

    So a state seen under the condition changes only under the condition, as in the stdlib.
    """

    _state = _PENDING
    _result = None
    _exception = None
    _late_condition: threading.Condition | None = None

    def __init__(self) -> None:
        self._steps = [None, None]
        self._done_callbacks: list[Callable[[Future[Any]], object]] = []

    @property
    def _condition(self) -> threading.Condition:
        if self._late_condition is None:
            with _making_condition:
                if self._late_condition is None:
                    self._waiters: list[Any] = []
                    left = 0
                    while self._steps:
                        try:
                            self._steps.pop()
                        except IndexError:
                            break
                        left += 1
                    self._state = (stdlib.FINISHED, stdlib.RUNNING, stdlib.PENDING)[left]
                    self._late_condition = threading.Condition()
        return self._late_condition

    def set_running_or_notify_cancel(self) -> bool:
        try:
            self._steps.pop()
        except IndexError:
            return super().set_running_or_notify_cancel()
        return True

    def set_result(self, result: Any) -> None:
        self._result = result
        try:
            self._steps.pop()
        except IndexError:
            super().set_result(result)
            return
        self._state = _FINISHED
        if self._done_callbacks:
            self._invoke_callbacks()

    def add_done_callback(self, fn: Callable[[Future[Any]], object]) -> None:
        # Append, then look: the worker writes the state, then pops callbacks. One of the two sees `fn`,
        # and only one of them can pop it.
        self._done_callbacks.append(fn)
        if self._state is not _PENDING and self._state != stdlib.RUNNING:
            self._invoke_callbacks()

    def _invoke_callbacks(self) -> None:
        callbacks = self._done_callbacks
        while callbacks:
            try:
                fn = callbacks.pop(0)
            except IndexError:
                return
            try:
                fn(self)
            except Exception:
                stdlib.LOGGER.exception("exception calling callback for %r", self)

    def result(self, timeout: float | None = None) -> Any:
        if self._state is _FINISHED and self._exception is None:
            return self._result
        return super().result(timeout)


class _Crew:
    """What the workers share. It does not know the executor, so a forgotten executor can be collected."""

    def __init__(
        self, limit: int, names: Iterator[str], initializer: Callable[..., object] | None, initargs: tuple[Any, ...]
    ) -> None:
        self.lock = threading.Lock()  # guards limit and threads
        self.calls: deque[_Call] = deque()  # append by any submitter, popleft by any worker
        self.parked: list[Any] = []  # locks of idle workers, newest last; whoever pops one must release it
        self.on_its_way = False  # a woken worker has not looked at `calls` yet
        self.limit = limit
        self.threads: set[threading.Thread] = set()
        self.surplus = False  # more threads than the limit
        self.closing = False  # workers leave once `calls` is empty
        self.refuses = False  # closing or broken: what is appended is taken out again
        self.broken = ""
        self.names = names
        self.initializer = initializer
        self.initargs = initargs

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
                    self.calls.clear()  # nobody is there to take it, and nobody was before
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

    def wake_all(self) -> None:
        while self.wake_one():
            pass

    def start_thread(self) -> bool:
        """Start one worker; the caller holds the lock. False where the system allows no more threads."""
        thread = threading.Thread(name=next(self.names), target=_work, args=(self,))
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
                    self.start_thread()

    def retire(self) -> bool:
        """Take the calling worker off the crew if there are too many; one idle worker is woken at a time."""
        with self.lock:
            self.surplus = len(self.threads) > self.limit
            if not self.surplus:
                return False
            self.threads.discard(threading.current_thread())
            self.surplus = len(self.threads) > self.limit
        self.on_its_way = False
        if self.surplus or self.calls:
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
        self.closing = self.refuses = True
        self.wake_all()

    def break_(self, why: str) -> None:
        self.broken, self.refuses = why, True
        for future, *_ in self.take_back():
            future.set_exception(BrokenThreadPool(why))

    def take_back(self) -> Iterator[_Call]:
        while True:
            try:
                yield self.calls.popleft()
            except IndexError:
                return


def _work(crew: _Crew) -> None:
    """The life of one worker thread."""
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
    was_woken = True  # and has not looked at `calls` since; a new thread counts as woken
    while True:
        if crew.surplus and crew.retire():
            return
        try:
            future, fn, args, kwargs = take()
        except IndexError:
            if was_woken:
                was_woken = crew.on_its_way = False
            if crew.closing and not calls:  # in this order: what is appended after `closing` is taken out
                return
            # 1. we park; 2. we look again; 3. we sleep. Who appends a call between 1 and 3 finds our
            # bell and rings it; who did so before 1 is seen in 2.
            crew.parked.append(bell)
            if calls or crew.closing or crew.surplus:
                try:
                    crew.parked.remove(bell)
                except ValueError:
                    bell.acquire()  # somebody has it already and is about to ring
                    was_woken = True
            else:
                bell.acquire()
                was_woken = True
            continue
        if was_woken:
            was_woken = crew.on_its_way = False
            if calls:
                crew.call_for_help()
        if future.set_running_or_notify_cancel():
            try:
                result = fn(*args, **kwargs) if kwargs else fn(*args)
            except BaseException as error:  # whatever a call raises belongs to its future
                future.set_exception(error)
                del error
            else:
                future.set_result(result)
                del result
        del future, fn, args, kwargs  # an idle worker must not keep the last call alive


class ResizableThreadPoolExecutor(Executor):
    """A drop-in for `concurrent.futures.ThreadPoolExecutor` that can be resized while it runs.

    Threads start on demand, as in the stdlib, up to the limit.

    Args:
        max_workers: the limit at the start; None takes the stdlib's default, min(32, CPUs + 4).
        thread_name_prefix: names are PREFIX_0, PREFIX_1, …
        initializer, initargs: called at the start of each worker; if it raises, the pool is broken.
        worker_names: names for the threads, in place of the prefix; drawn once per thread.

    Raises:
        ValueError: max_workers is below 1. TypeError: initializer cannot be called.
    """

    _counter = itertools.count().__next__

    def __init__(
        self,
        max_workers: int | None = None,
        thread_name_prefix: str = "",
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        *,
        worker_names: Iterable[str] | None = None,
    ) -> None:
        if max_workers is None:
            count = getattr(os, "process_cpu_count", os.cpu_count)  # from Python 3.13 on
            max_workers = min(32, (count() or 1) + 4)
        if max_workers <= 0:
            raise ValueError("max_workers must be greater than 0")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        prefix = thread_name_prefix or f"ThreadPoolExecutor-{self._counter()}"
        names = iter(worker_names) if worker_names is not None else map(f"{prefix}_{{}}".format, itertools.count())
        self._crew = crew = _Crew(max_workers, names, initializer, initargs)
        self._append = crew.append
        self._on_collected = weakref.finalize(self, crew.close)
        self._on_collected.atexit = False  # `_close_all` is in time for the threads, atexit is too late
        _crews.add(crew)

    def submit(self, fn: Callable[..., _T], /, *args: Any, **kwargs: Any) -> Future[_T]:
        """Schedule `fn(*args, **kwargs)`. Never blocks.

        Raises:
            RuntimeError: after `shutdown`, or where not even one thread can be started.
            BrokenThreadPool: the initializer failed.
        """
        future = _Future()
        self._append((future, fn, args, kwargs))
        return future

    def resize(self, max_workers: int) -> None:
        """Set the limit, an absolute number of threads; the same number again changes nothing.

        Waiting calls get new threads at once. Surplus threads leave between two calls, idle ones
        first; this never waits for them. Any thread may call it.

        Raises:
            ValueError: max_workers is below 1.
        """
        if max_workers <= 0:
            raise ValueError("max_workers must be greater than 0")
        self._crew.resize(max_workers)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; with *wait*, return when all threads have ended."""
        self._crew.refuses = True
        if cancel_futures:
            for future, *_ in self._crew.take_back():
                future.cancel()
        self._crew.close()
        if wait:
            for thread in tuple(self._threads):
                thread.join()

    @property
    def _threads(self) -> set[threading.Thread]:
        return self._crew.threads

    @property
    def _max_workers(self) -> int:
        return self._crew.limit

    @property
    def _broken(self) -> str:
        return self._crew.broken

    def __repr__(self) -> str:
        crew = self._crew
        return (
            f"<{type(self).__name__} [limit {crew.limit} | threads {len(crew.threads)}, "
            f"{len(crew.parked)} parked | calls {len(crew.calls)} waiting]>"
        )


_crews: weakref.WeakSet[_Crew] = weakref.WeakSet()
_interpreter_exits = False


def _close_all() -> None:
    """Let all workers end before the interpreter joins them, as the stdlib's pool does."""
    global _interpreter_exits  # noqa: PLW0603 - one interpreter, one end
    _interpreter_exits = True
    crews = tuple(_crews)
    for crew in crews:
        crew.close()
    for crew in crews:
        for thread in tuple(crew.threads):
            thread.join()


# The hook of the stdlib's own pool: it runs before non-daemon threads are joined; `atexit` runs after.
threading._register_atexit(_close_all)  # type: ignore[attr-defined]  # noqa: SLF001
if hasattr(os, "register_at_fork"):
    # A forked child has no workers, and a lock of a crew may have been held by one of them.
    os.register_at_fork(after_in_child=_crews.clear)
