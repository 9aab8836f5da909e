"""The loop that decides what runs next: handle messages, settle, dispatch; nothing else.

It never sleeps, logs, formats, reads configuration or opens a file, and knows no number that belongs to
a policy. Time comes from one callable, so that a test can step it by hand on a clock of its own.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from time import monotonic
from typing import Protocol

from dynamic_pipeline import events as ev
from dynamic_pipeline.attempts import Attempt, Failed, Outcome, Succeeded, Work, run_attempt
from dynamic_pipeline.errors import OutputError
from dynamic_pipeline.handover import Handover
from dynamic_pipeline.inbox import (
    Abort,
    Crashed,
    Drain,
    Message,
    RateKept,
    RateMissed,
    Resize,
    SinkFailed,
    SourceEnded,
)
from dynamic_pipeline.jobs import Job
from dynamic_pipeline.lifecycle import Phase
from dynamic_pipeline.retry import RetryAfter, RetryPolicy
from dynamic_pipeline.scaling import Load
from dynamic_pipeline.stop import Stop

_new = tuple.__new__  # for the named tuples of the hot path, see attempts.py
_DRAIN_REPORT_S = 0.5  # the seed's interval between two `draining backlog=N`


class ResizableExecutor(Protocol):
    """The engine seam: the stdlib's `Executor`, and `resize`."""

    submit: Callable[..., Future[Outcome]]

    def resize(self, max_workers: int, /) -> None: ...


class Orchestrator:
    """Decides what runs next. One thread, the caller of `run` or `step`, owns every field.

    Guarantees: each accepted job ends in exactly one `JobSucceeded`, `JobFailed` or `JobUnfinished`; at
    most twice the limit is in flight, so at most the limit waits inside the executor; a retry is started
    before a new job; nothing is started after an abort.
    """

    def __init__(
        self,
        work: Work,
        executor: ResizableExecutor,
        limit: int,
        backlog: Handover[Job],
        inbox: Handover[Message],
        events: Handover[ev.Event],
        stop: Stop,
        *,
        retry: RetryPolicy,
        drain_all: bool = True,
        drain_timeout_s: float | None = None,
        abort_patience_s: float = 2.5,
        now: Callable[[], float] = monotonic,
    ) -> None:
        self._work = work
        self._executor = executor
        self._backlog = backlog
        self._inbox = inbox
        self._events = events
        self._stop = stop  # no more records are drawn; set here only
        self._retry = retry
        self._drain_all = drain_all
        self._drain_timeout_s = drain_timeout_s
        self._abort_patience_s = abort_patience_s  # a job that still runs then is given up
        self._now = now
        self.limit = limit  # written here only; others may read it, and may be late
        self.phase = Phase.RUNNING  # same
        self._in_flight: dict[Future[Outcome], Attempt] = {}
        self._retries: list[tuple[float, int, Attempt]] = []  # heap on (due, order of arrival)
        self._arrivals = 0
        self._news: list[ev.Event] = []  # what this step will tell
        self._source_has_ended = False
        self._next_report_s = float("inf")
        self._deadline_s = float("inf")  # of the drain, then of the abort
        # How the run ended, for the one who asked for it. Read after `run` has returned.
        self.is_source_complete = False
        self.signal: int | None = None
        self.error: BaseException | None = None
        self.is_abandoned = False  # a job that would not end was left behind on its thread
        self.was_forced = False

    def load(self) -> Load:
        """A snapshot for the supervisor; any thread may take it."""
        return Load(len(self._backlog), len(self._in_flight), len(self._retries), self.limit)

    def run(self) -> None:
        """Step until no accepted job is left."""
        self._events.put(ev.RunStarted(self.limit))
        messages: list[Message] = []
        while not self.step(messages):
            self._events.wait_room()
            backlog = self._backlog
            backlog.is_wanted = self._room() > 0
            messages = self._inbox.take_wait(
                self._next_wake_s(), or_ready=lambda: backlog.is_wanted and len(backlog) > 0
            )

    def step(self, messages: list[Message]) -> bool:
        """Handle *messages*, let due things happen, start what may run; never waits. True when all is done."""
        in_flight, tell = self._in_flight, self._news.append
        for message in messages:
            if not isinstance(message, Future):
                self._handle(message)
            elif (attempt := in_flight.pop(message, None)) is not None:  # None: it was given up before
                try:
                    outcome = message.result()  # whatever else it raises: the pool itself broke
                except CancelledError:
                    tell(ev.JobUnfinished(attempt.job))
                    continue
                if type(outcome) is Succeeded:
                    tell(_new(ev.JobSucceeded, (attempt, outcome)))
                else:
                    self._settle_failed(attempt, outcome)
        self._let_time_pass()
        self._dispatch()
        if self._source_has_ended and not self.load().backlog:
            self.phase = Phase.FINISHED
            if self._next_report_s < float("inf"):  # it drained: the last report is a zero
                self._news.append(ev.Draining(0))
            self._news.append(ev.JobsClosed())
        if self._news:
            self._events.put_all(self._news)
            self._news.clear()
        return self.phase is Phase.FINISHED

    # ── settle ──────────────────────────────────────────────────────────────────────────────────

    def _settle_failed(self, attempt: Attempt, outcome: Failed) -> None:
        if outcome.is_interrupted:
            self._news.append(ev.JobUnfinished(attempt.job, outcome))
            return
        decision = self._retry.decide(attempt, outcome)
        if not isinstance(decision, RetryAfter):
            self._news.append(ev.JobFailed(attempt, outcome))
        elif not self._may_start():
            self._news.append(ev.JobUnfinished(attempt.job, outcome))
        else:
            again = Attempt(attempt.job, attempt.number + 1)
            self._arrivals += 1
            heapq.heappush(self._retries, (self._now() + decision.delay_s, self._arrivals, again))
            self._news.append(ev.JobRetrying(attempt, outcome, self._retry.max_retries))

    # ── dispatch ────────────────────────────────────────────────────────────────────────────────

    def _may_start(self) -> bool:
        return self.phase is Phase.RUNNING or (self.phase is Phase.DRAINING and self._drain_all)

    def _room(self) -> int:
        """How many new jobs could be started; none while the capped heap of retries is full."""
        if not self._may_start() or len(self._retries) >= (self._backlog.capacity or 1):
            return 0
        return 2 * self.limit - len(self._in_flight)

    def _dispatch(self) -> None:
        if not self._may_start():
            for job in self._backlog.take_nowait():  # the producer may still be offering the one it drew
                self._news.append(ev.JobUnfinished(job))
            return
        if self._retries:
            now = self._now()
            while self._retries and self._retries[0][0] <= now and len(self._in_flight) < 2 * self.limit:
                self._submit(heapq.heappop(self._retries)[2])
        room = self._room()
        if room > 0:
            # `_submit`, written out: this loop is the hot path of the orchestrator.
            submit, work, in_flight, put = self._executor.submit, self._work, self._in_flight, self._inbox.put
            for job in self._backlog.take_nowait(room):
                attempt = _new(Attempt, (job, 1))
                future = submit(run_attempt, work, attempt)
                in_flight[future] = attempt
                future.add_done_callback(put)

    def _submit(self, attempt: Attempt) -> None:
        future = self._executor.submit(run_attempt, self._work, attempt)
        self._in_flight[future] = attempt
        future.add_done_callback(self._inbox.put)

    # ── messages and time ───────────────────────────────────────────────────────────────────────

    def _handle(self, message: Message) -> None:
        match message:
            case Resize(decision, load):
                if decision.limit != self.limit:
                    self._news.append(ev.LimitChanged(self.limit, decision.limit, load.backlog, decision.reason))
                    self.limit = decision.limit
                    self._executor.resize(decision.limit)
            case SourceEnded(is_complete, error):
                self._source_has_ended = True
                self.is_source_complete = is_complete
                self.error = self.error or error
            case RateMissed(target_per_s):
                self._news.append(ev.SourceStalled(target_per_s, len(self._backlog), self._backlog.capacity or 0))
            case RateKept(target_per_s):
                self._news.append(ev.SourceResumed(target_per_s))
            case Drain(reason, signal):
                self._begin_drain(reason, signal)
            case Abort(reason, signal):
                self._begin_abort(reason, signal)
            case Crashed(_, error):
                self.error = self.error or error
                self._source_has_ended = True  # whichever thread it was, nothing is to be waited for
                self._begin_abort(f"internal error: {error!r}", None)
            case SinkFailed(error):
                self.error = self.error or error
                if isinstance(error, OutputError) and error.reader_gone:
                    self._begin_abort(str(error), None)
                else:
                    self._begin_drain(f"a result could not be written: {error}", None)

    def _begin_drain(self, reason: str, signal: int | None) -> None:
        if self.phase is not Phase.RUNNING:
            return
        self.phase = Phase.DRAINING
        self.signal = signal
        self._stop.set()
        now = self._now()
        self._next_report_s = now + _DRAIN_REPORT_S
        if self._drain_timeout_s is not None:
            self._deadline_s = now + self._drain_timeout_s
        self._news.append(ev.DrainStarted(reason, signal, self.load().backlog, self.limit))
        if not self._drain_all:
            self._give_up_waiting()

    def _begin_abort(self, reason: str, signal: int | None) -> None:
        if self.phase.then(Phase.ABORTING) is self.phase:
            return
        self.phase = Phase.ABORTING
        self.was_forced = True
        self.signal = self.signal if self.signal is not None else signal
        self._stop.set()
        self._next_report_s = float("inf")
        self._deadline_s = self._now() + self._abort_patience_s
        self._news.append(ev.AbortStarted(reason, self.load().backlog))
        self._give_up_waiting()
        abort_work = getattr(self._work, "abort", None)
        if abort_work is not None:
            abort_work()

    def _give_up_waiting(self) -> None:
        """Leave undone what has not begun: waiting retries, and calls that wait inside the executor."""
        for _, _, attempt in self._retries:
            self._news.append(ev.JobUnfinished(attempt.job))
        self._retries.clear()
        for future in tuple(self._in_flight):
            future.cancel()  # if it has not begun, its callback brings it back as cancelled

    def _let_time_pass(self) -> None:
        now = self._now() if min(self._next_report_s, self._deadline_s) < float("inf") else 0.0
        if now >= self._next_report_s:
            self._next_report_s = now + _DRAIN_REPORT_S
            self._news.append(ev.Draining(self.load().backlog))
        if now >= self._deadline_s:
            if self.phase is Phase.DRAINING:
                self._begin_abort("drain timeout", self.signal)
            elif self.phase is Phase.ABORTING:
                self._abandon()

    def _abandon(self) -> None:
        """Count jobs that would not end as unfinished; their threads are left behind."""
        self.is_abandoned = bool(self._in_flight)
        for attempt in self._in_flight.values():
            self._news.append(ev.JobUnfinished(attempt.job))
        self._in_flight.clear()
        self._source_has_ended = True  # a source that hangs as well is not waited for
        self._deadline_s = float("inf")

    def _next_wake_s(self) -> float | None:
        """Seconds until something is due by itself; None when only a message can change anything."""
        due_s = min(self._next_report_s, self._deadline_s)
        if self._retries and len(self._in_flight) < 2 * self.limit:
            due_s = min(due_s, self._retries[0][0])
        return None if due_s == float("inf") else due_s - self._now()
