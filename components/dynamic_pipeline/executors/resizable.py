"""`ResizableThreadPoolExecutor`: the stdlib's thread pool, with `resize(limit)`."""

from __future__ import annotations

import itertools
import os
import threading
import weakref
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future
from typing import Any, TypeVar

from dynamic_pipeline.crew import Crew
from dynamic_pipeline.lean_future import LeanFuture

_T = TypeVar("_T")


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
        names = (
            iter(worker_names)
            if worker_names is not None
            else map(f"{prefix}_{{}}".format, itertools.count())
        )
        self._crew = crew = Crew(max_workers, names, initializer, initargs)
        self._append = crew.append
        self._on_collected = weakref.finalize(self, crew.close)
        self._on_collected.atexit = False  # `_close_all` is in time for the threads, atexit is too late

    def submit(self, fn: Callable[..., _T], /, *args: Any, **kwargs: Any) -> Future[_T]:
        """Schedule `fn(*args, **kwargs)`. Never blocks.

        Raises:
            RuntimeError: after `shutdown`, or where not even one thread can be started.
            BrokenThreadPool: the initializer failed.
        """
        future = LeanFuture()
        self._append((future, fn, args, kwargs))
        return future

    def resize(self, max_workers: int) -> None:
        """Set the limit, an absolute number of threads; the same number again changes nothing.

        Waiting calls get new threads at once. Surplus threads leave between two calls, idle ones
        first; this never waits for them. 0 is a pause: calls wait for the next `resize`, or for
        `shutdown`, which lets one thread run what was accepted. Any thread may call it.

        Raises:
            ValueError: max_workers is below 0.
        """
        if max_workers < 0:
            raise ValueError("max_workers must not be negative")
        self._crew.resize(max_workers)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; with *wait*, return when all threads have ended."""
        self._crew.refuses = True
        if cancel_futures:
            for future, *_ in self._crew.take_back():
                future.cancel()
        if not self._crew.limit:
            self._crew.resize(1)
        self._crew.close()
        if wait:
            self._crew.join()

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
