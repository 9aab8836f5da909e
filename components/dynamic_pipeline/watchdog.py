"""The time limit of Python calls. A thread cannot be ended, so the limit is soft: the run goes on without it."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

from dynamic_pipeline.attempts import Attempt, Failed, Work, this_thread
from dynamic_pipeline.handover import Bell, Handover
from dynamic_pipeline.inbox import Message, TimedOut
from dynamic_pipeline.job_context import StopFlags
from dynamic_pipeline.stop import Stop


class Watchdog:
    """Posts `TimedOut` for each attempt that runs longer than *timeout_s*, and raises the job's stop flag.

    Workers add themselves to `_running` and take themselves out; taking out is atomic, so either the
    worker or the watchdog gets an attempt. All have the same limit: the oldest is due first, and one that
    begins while the watchdog sleeps is due after it has woken.
    """

    def __init__(
        self,
        work: Work,
        timeout_s: float,
        inbox: Handover[Message],
        stop: Stop,
        now: Callable[[], float] = monotonic,
    ) -> None:
        self._timeout_s = timeout_s
        self._inbox = inbox
        self._stop = stop
        self._now = now
        self._running: dict[int, tuple[float, Attempt, str]] = {}  # by job: (due, attempt, worker)
        self._flags: StopFlags = getattr(work, "stop_flags", None) or StopFlags()
        self._bell = Bell()
        stop.tell(self._bell.ring)
        self.work = self._watched(work)

    def _watched(self, work: Work) -> Work:
        running, now, timeout_s = self._running, self._now, self._timeout_s

        def watched(attempt: Attempt) -> Any:
            running[attempt.job.id] = now() + timeout_s, attempt, this_thread.name
            try:
                return work(attempt)
            finally:
                running.pop(attempt.job.id, None)

        watched.stop_flags = self._flags  # type: ignore[attr-defined]  # for `current_job`
        watched.abort = getattr(work, "abort", bool)  # type: ignore[attr-defined]  # as the work's own
        return watched

    def run(self) -> None:
        """Look whenever the oldest call may be due, until *stop* is set."""
        while not self._stop.is_set:
            self._bell.wait(lambda: self._stop.is_set, self.look())

    def _snapshot(self) -> list[tuple[float, Attempt, str]]:
        while True:
            try:
                return list(self._running.values())
            except RuntimeError:  # a garbage collection inside ran a finalizer, and that let workers go on
                continue

    def look(self) -> float:
        """Post what is overdue; the seconds until the next can be."""
        now_s = self._now()
        for due_s, attempt, worker in self._snapshot():
            if due_s > now_s:
                return due_s - now_s
            if self._running.pop(attempt.job.id, None) is not None:
                self._flags.set(attempt.job.id)
                # Not tried again: the first try still runs, and two at once is what nobody expects.
                error = f"timeout after {self._timeout_s:g} s; a call cannot be ended, so it is left behind"
                failed = Failed(error, self._timeout_s, worker, is_retryable=False)
                self._inbox.put(TimedOut(attempt, failed))
        return self._timeout_s
