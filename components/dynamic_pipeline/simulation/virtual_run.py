"""One run on one thread and a virtual clock: nothing waits, everything that decides is the real thing."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from heapq import heappop, heappush
from typing import Any, NamedTuple

from dynamic_pipeline import events as ev
from dynamic_pipeline.attempts import Attempt, Failed, Succeeded
from dynamic_pipeline.handover import Handover
from dynamic_pipeline.inbox import Message, SourceEnded
from dynamic_pipeline.jobs import Job
from dynamic_pipeline.lean_future import LeanFuture
from dynamic_pipeline.orchestrator import Orchestrator
from dynamic_pipeline.retry import RetryPolicy
from dynamic_pipeline.scaling import ScalingPolicy
from dynamic_pipeline.simulation.traces import Trace
from dynamic_pipeline.stop import Stop
from dynamic_pipeline.supervisor import Supervisor

_NEVER = float("inf")


class Change(NamedTuple):
    """The limit was changed."""

    at_s: float
    old: int
    new: int
    reason: str


class Measured(NamedTuple):
    """What a run was like; seconds are virtual."""

    end_s: float  # of the last job
    succeeded: int
    failed: int
    changes: list[Change]
    waits_s: list[
        float
    ]  # of each job, from the time at which it was meant to come to its first start; sorted
    allowed_s: float  # worker-seconds: those that were allowed, or still worked after a shrink
    busy_s: float  # worker-seconds: those that worked
    waiting_s: float  # job-seconds: those that were there and did not run
    blocked_s: float  # seconds for which the producer waited for room in the queue
    most_backlog: int


class _Calls:
    """An executor without threads: it tells of each call that begins, and its owner ends it."""

    def __init__(self, limit: int, began: Callable[[Future[Any], Attempt], object]) -> None:
        self._limit = limit
        self._began = began
        self._waiting: deque[tuple[Future[Any], Attempt]] = deque()
        self.running = 0

    def submit(self, _fn: Any, _work: Any, attempt: Attempt) -> Future[Any]:
        future: Future[Any] = LeanFuture()
        self._waiting.append((future, attempt))
        self._begin()
        return future

    def resize(self, max_workers: int, /) -> None:
        self._limit = max_workers
        self._begin()

    def end(self, future: Future[Any], outcome: Any) -> None:
        self.running -= 1
        future.set_result(outcome)
        self._begin()

    def _begin(self) -> None:
        while self._waiting and self.running < self._limit:
            future, attempt = self._waiting.popleft()
            if future.set_running_or_notify_cancel():
                self.running += 1
                self._began(future, attempt)


class VirtualRun:
    """Runs *trace* under *policy*.

    At one and the same time ends come before arrivals, and both before the look of the policy, which comes at
    interval, 2 x interval, … A job that finds the queue full waits, and those behind it; its wait counts from
    the time at which it was meant to come. Of a closed trace nothing is meant to come while one waits like that.
    """

    def __init__(
        self,
        trace: Trace,
        policy: ScalingPolicy,
        *,
        retry: RetryPolicy,
        interval_s: float = 1.0,
        queue_capacity: int = 200,
    ) -> None:
        self._trace = trace
        self._interval_s = interval_s
        self._now_s = 0.0
        limit = policy.start()
        self._calls = _Calls(limit, self._began)
        self._backlog: Handover[Job] = Handover(capacity=queue_capacity)
        self._inbox: Handover[Message] = Handover()
        self._events: Handover[ev.Event] = Handover()
        stop = Stop()
        self._orchestrator = Orchestrator(
            lambda _: None,  # nothing is called
            self._calls,
            limit,
            self._backlog,
            self._inbox,
            self._events,
            stop,
            retry=retry,
            now=lambda: self._now_s,
        )
        self._supervisor = Supervisor(policy, self._orchestrator.load, self._inbox, stop, interval_s)
        self._ends: list[tuple[float, int, Future[Any], Attempt]] = []  # a heap
        self._begun = 0
        self._offered = 0  # jobs that are in the queue or beyond it
        self._came_s: list[float] = []  # when each job that should be there by now came
        self._offered_s = 0.0  # when the last of those in the queue got there
        self._over = 0
        self._is_done = False
        self._waits_s: list[float] = []
        self._changes: list[Change] = []
        self._end_s = self._allowed_s = self._busy_s = self._waiting_s = self._blocked_s = 0.0
        self._succeeded = self._failed = self._most_backlog = 0

    def run(self) -> Measured:
        """Until the last job is over."""
        ticks = 1
        self._step()
        while not self._is_done:
            tick_s = ticks * self._interval_s
            end_s = self._ends[0][0] if self._ends else _NEVER
            come_s = self._next_s()
            self._pass_time(min(tick_s, end_s, come_s, self._orchestrator.hand.retries.next_due_s()))
            if end_s <= self._now_s:
                _, _, future, attempt = heappop(self._ends)
                attempts = self._trace.jobs[attempt.job.id - 1].attempts
                seconds, is_ok = attempts[attempt.number - 1]
                is_retryable = attempt.number < len(attempts)
                failed = Failed("simulated", seconds, "", is_retryable)
                self._calls.end(future, Succeeded(None, seconds, "") if is_ok else failed)
            elif come_s <= self._now_s:
                self._came_s.append(come_s)
            elif tick_s <= self._now_s:
                ticks += 1
                self._supervisor.tick()
            self._step()
        return Measured(
            self._end_s,
            self._succeeded,
            self._failed,
            self._changes,
            sorted(self._waits_s),
            self._allowed_s,
            self._busy_s,
            self._waiting_s,
            self._blocked_s,
            self._most_backlog,
        )

    @property
    def _due(self) -> int:
        """Jobs that should have come by now."""
        return len(self._came_s)

    def _next_s(self) -> float:
        """When the next job comes, as far as it is known."""
        trace, at = self._trace, self._due
        if at == len(trace.jobs) or (trace.is_closed and self._offered < at):
            return _NEVER
        return (
            trace.jobs[at].at_s if trace.gap_s is None else self._offered_s + trace.gap_s(at, self._offered_s)
        )

    def _pass_time(self, until_s: float) -> None:
        passed_s = max(0.0, until_s - self._now_s)
        running = self._calls.running
        self._allowed_s += passed_s * max(self._orchestrator.limit, running)
        self._busy_s += passed_s * running
        self._waiting_s += passed_s * (self._due - self._over - running)
        self._blocked_s += passed_s * (self._offered < self._due)
        self._now_s = max(self._now_s, until_s)

    def _step(self) -> None:
        """Offer what has come, as far as there is room, and let the orchestrator go on."""
        while True:
            while self._offered < self._due and self._backlog.has_room():
                self._offered, self._offered_s = self._offered + 1, self._now_s
                self._backlog.put(Job(self._offered, None))
            if self._offered == self._due and self._next_s() == _NEVER:
                self._inbox.put(SourceEnded(is_complete=True))
            self._is_done = self._orchestrator.step(self._inbox.take_nowait())
            for event in self._events.take_nowait():
                self._note(event)
            self._most_backlog = max(self._most_backlog, self._orchestrator.load().backlog)
            if self._is_done or self._offered == self._due or not self._backlog.has_room():
                return

    def _note(self, event: ev.Event) -> None:
        match event:
            case ev.LimitChanged(old, new, _, reason):
                self._changes.append(Change(self._now_s, old, new, reason))
            case ev.JobSucceeded() | ev.JobFailed():
                self._over += 1
                self._end_s = self._now_s
                self._succeeded += isinstance(event, ev.JobSucceeded)
                self._failed += isinstance(event, ev.JobFailed)

    def _began(self, future: Future[Any], attempt: Attempt) -> None:
        job = self._trace.jobs[attempt.job.id - 1]
        if attempt.number == 1:
            self._waits_s.append(self._now_s - self._came_s[attempt.job.id - 1])
        self._begun += 1
        heappush(
            self._ends, (self._now_s + job.attempts[attempt.number - 1][0], self._begun, future, attempt)
        )
