"""The other side of `dask`: what runs in a worker of the cluster."""

from __future__ import annotations

import contextlib
import pickle
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from distributed import get_worker
from distributed.threadpoolexecutor import threads_lock
from distributed.worker_state_machine import SecedeEvent

from dynamic_pipeline.attempts import Attempt, Failed, Work, describe, run_attempt
from dynamic_pipeline.executors.elsewhere import sent_back

_LOOK_S = 0.1  # between two looks whether the tasks that run are still wanted
_ENDING = {"closing", "closed", "failed"}  # of a worker; so it is when the scheduler has gone
_WANTED = {"executing", "long-running"}  # states of a task that runs, and whose result somebody waits for


def run_here(
    work: bytes, folders: tuple[str, ...], attempt: bytes, timeout_s: float | None, topic: str
) -> bytes:
    """One attempt, on a thread of a Dask worker: its outcome, as bytes.

    Nobody can end it. After *timeout_s* seconds the client is told, under *topic*, and another thread takes the place of
    this one. Modules are looked for in *folders*, too, where they are there.
    """
    worker = get_worker()
    task = _Task(worker, str(worker.get_current_task()), topic)
    if topic in _ended:
        return pickle.dumps(Failed("not started", 0.0, "", is_interrupted=True))
    job: Attempt
    try:
        call, job = _load(work, folders, topic), pickle.loads(attempt)  # noqa: S301 - the client may run any code here anyway
    except BaseException as error:  # the user's modules are imported here and may raise anything
        return pickle.dumps(
            Failed(f"it cannot be run on {worker.address}: {describe(error)}", 0.0, "", False)
        )
    flags = getattr(call, "stop_flags", None)
    if isinstance(flags, _AskScheduler):
        flags.tasks[job.job.id] = task
    thread = threading.current_thread()
    late = None if timeout_s is None else lambda: task.set_aside(thread)
    _this_thread.task = task
    try:
        with _watch.of(task, timeout_s, late):
            outcome = run_attempt(call, job)
    finally:
        if isinstance(flags, _AskScheduler):
            flags.forget(job.job.id, task)
    return sent_back(outcome)


def end_all(topic: str) -> None:
    """The tasks of this topic should end, and none begins any more. On the worker's loop, by the client's `run`."""
    _ended.add(topic)


def when_unwanted(act: Callable[[], object]) -> contextlib.AbstractContextManager[None]:
    """Call *act*, on another thread, once nobody waits any more for the task that the calling thread runs."""
    return _watch.of(_this_thread.task, act=act)


class _Task(NamedTuple):
    """A task of a Dask worker, known by its key."""

    worker: Any
    key: str
    topic: str  # of the work that it belongs to

    def is_wanted(self) -> bool:
        """False once its run was forced to stop, it was cancelled, or its client or the scheduler has gone.

        Any thread; it asks nobody else.
        """
        if self.topic in _ended or self.worker.status.name in _ENDING:
            return False
        state = self.worker.state.tasks.get(self.key)
        return state is not None and state.state in _WANTED

    def set_aside(self, thread: threading.Thread) -> None:
        """It takes too long: tell the client, and let others run in its place, as `secede` does when called by the task.

        Else what the scheduler has given to this worker already would wait behind it for ever.
        """
        worker, key = self.worker, self.key

        def give_way() -> None:  # on the worker's loop
            worker.handle_stimulus(SecedeEvent(key=key, compute_duration=0.0, stimulus_id=f"late-{key}"))
            worker.log_event(self.topic, key)

        pool = worker.executors["default"]
        with threads_lock:
            if thread in pool._threads:  # noqa: SLF001 - as Dask's `secede`, which only the thread itself can call
                pool._threads.remove(thread)  # noqa: SLF001 - same
                pool._adjust_thread_count()  # noqa: SLF001 - same
        worker.loop.add_callback(give_way)


class _AskScheduler:
    """The stop flags of the calls of one work, several of which may run in this process."""

    def __init__(self) -> None:
        self.tasks: dict[int, _Task] = {}  # by job

    def asks(self, job_id: int) -> bool:
        task = self.tasks.get(job_id)
        return task is None or not task.is_wanted()

    def forget(self, job_id: int, task: _Task) -> None:
        if self.tasks.get(job_id) is task:
            del self.tasks[job_id]


@lru_cache(maxsize=16)
def _load(work: bytes, folders: tuple[str, ...], topic: str) -> Work:  # noqa: ARG001 - each run has its own
    """Read once, so that what its modules keep stays from call to call."""
    sys.path += [folder for folder in folders if folder not in sys.path and Path(folder).is_dir()]
    loaded: Work = pickle.loads(work)  # noqa: S301 - see above
    with contextlib.suppress(AttributeError):
        loaded.stop_flags = _AskScheduler()  # type: ignore[attr-defined]  # for `current_job`
    getattr(loaded, "load", bool)()
    return loaded


class _Watched(NamedTuple):
    task: _Task
    act: Callable[[], object]  # called once
    due_s: float  # on the monotonic clock; inf: as soon as the task is not wanted


class _Watch:
    """Looks after all tasks of the process on one thread, which is there while there are any."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watched: dict[object, _Watched] = {}
        self._runs = False

    @contextlib.contextmanager
    def of(
        self, task: _Task, timeout_s: float | None = None, act: Callable[[], object] | None = None
    ) -> Iterator[None]:
        """Meanwhile: *act* when *timeout_s* seconds are over, or, without them, when *task* is not wanted any more."""
        token = object()
        if act is not None:
            due_s = float("inf") if timeout_s is None else time.monotonic() + timeout_s
            with self._lock:
                self._watched[token] = _Watched(task, act, due_s)
                if not self._runs:
                    self._runs = True
                    threading.Thread(target=self._run, name="pipeline-watch", daemon=True).start()
        try:
            yield
        finally:
            with self._lock:
                self._watched.pop(token, None)

    def _run(self) -> None:
        while True:
            time.sleep(_LOOK_S)
            with self._lock:
                if not self._watched:
                    self._runs = False
                    return
                watched = list(self._watched.items())
            now_s = time.monotonic()
            for token, each in watched:
                is_due = now_s >= each.due_s if each.due_s != float("inf") else not each.task.is_wanted()
                if is_due:
                    with (
                        self._lock,
                        contextlib.suppress(Exception),
                    ):  # the others are to be looked after, whatever it meets
                        if (
                            self._watched.pop(token, None) is not None
                        ):  # else it has ended, and let go of what it had
                            each.act()


_watch = _Watch()
_ended: set[str] = set()  # topics
_this_thread = threading.local()  # .task: that it runs
