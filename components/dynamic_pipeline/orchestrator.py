"""The loop that decides what runs next: handle messages, settle, dispatch; nothing else.

It never logs, formats, reads configuration or opens a file, and knows no number that belongs to
a policy. Time comes from one callable, so that a test can step it by hand on a clock of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from time import monotonic, sleep

from dynamic_pipeline import events as ev
from dynamic_pipeline import inbox as msg
from dynamic_pipeline.attempts import Attempt, Failed, Succeeded, Work, run_attempt
from dynamic_pipeline.breaker import Breaker
from dynamic_pipeline.errors import IoFault, OutputError
from dynamic_pipeline.executors import ResizableExecutor
from dynamic_pipeline.halting import HaltPolicy
from dynamic_pipeline.handover import Handover
from dynamic_pipeline.in_hand import MOST_OVERDUE, InHand
from dynamic_pipeline.inbox import Message
from dynamic_pipeline.jobs import Job
from dynamic_pipeline.lifecycle import Phase, Shutdown
from dynamic_pipeline.napping import nap_s
from dynamic_pipeline.retry import RetryAfter, RetryPolicy
from dynamic_pipeline.scaling import Load
from dynamic_pipeline.stop import Stop
from dynamic_pipeline.stopping import Stopping

_new = tuple.__new__  # for the named tuples of the hot path, see attempts.py


class Orchestrator:
    """Decides what runs next. One thread, the caller of `run` or `step`, owns every field.

    Guarantees: each accepted job ends in exactly one `JobSucceeded`, `JobFailed` or `JobUnfinished`; at
    most as many wait inside the executor as may run there; a due retry is started before a new job; nothing is started after an abort.
    """

    def __init__(
        self,
        work: Work,
        executor: ResizableExecutor,
        limit: int,
        backlog: Handover[Job],
        inbox: Handover[Message],
        events: ev.Telling,
        stop: Stop,
        *,
        retry: RetryPolicy,
        halt: HaltPolicy | None = None,
        breaker: Breaker | None = None,
        is_overload: Callable[[Failed], bool] = lambda _: False,
        looks_ahead: bool = True,
        drain_all: bool = True,
        drain_timeout_s: float | None = None,
        abort_patience_s: float = 2.5,  # a job that still runs then is given up
        now: Callable[[], float] = monotonic,
    ) -> None:
        self._work, self._executor = work, executor
        self._backlog, self._inbox, self._events = backlog, inbox, events
        self.shutdown = Shutdown(drain_timeout_s, abort_patience_s, drain_all=drain_all)
        self._retry, self._now = retry, now
        self._news: list[ev.Event] = []  # what this step will tell
        self.hand = InHand(is_overload)
        self._stopping = Stopping(
            self.shutdown, self.hand, self.load, self._news.append, stop, work, halt, breaker, now
        )
        self.limit = limit  # written here only; others may read it, and may be late
        # Attempts in flight, per worker. None waits inside the executor where the end of one may be the signal to
        # start nothing more: the worker would take the next one before anybody can hear of it.
        self._per_worker = 2 if looks_ahead and halt is None else 1
        self._window = self._per_worker * limit
        self.source_has_ended = self._is_held = False  # held: the collector is far behind, nothing is started
        # How the run ended, for the one who asked for it. Read after `run` has returned.
        self.is_source_complete = False
        self.error: BaseException | None = None

    @property
    def is_abandoned(self) -> bool:
        """A job that would not end is left behind on its thread."""
        return self._stopping.left_behind or self.hand.is_stuck

    def load(self) -> Load:
        """A snapshot for the supervisor; any thread may take it."""
        return self.hand.load(len(self._backlog), self.limit, self._backlog.capacity or 0, self._now())

    def run(self, nap: Callable[[float], object] = sleep) -> None:
        """Step until no accepted job is left. It waits for messages only, so a signal is always heard."""
        self._events.put(ev.RunStarted(self.limit))
        self.shutdown.begin(self._now())
        messages: list[Message] = []
        before_s = 0.0
        while not self.step(messages):
            now_s = self._now()
            if pause_s := nap_s(len(self.hand.in_flight) - self.limit, len(messages), now_s - before_s):
                nap(pause_s)
            before_s = now_s
            self._backlog.is_wanted = self._room() > 0
            messages = self._inbox.take_wait(self._next_wake_s(), or_ready=self._may_go_on)

    def _may_go_on(self) -> object:
        """There is something to do that no message tells of; asked between parking and sleeping."""
        return self._backlog if self._backlog.is_wanted else self._is_held and self._events.has_room()

    def step(self, messages: list[Message]) -> bool:
        """Handle *messages*, let due things happen, start what may run; never waits. True when all is done."""
        self.hand.pass_time(self._now(), self.limit)
        self._take_in(messages)
        self._stopping.consider_breaker()
        self._stopping.let_time_pass()
        if not self.limit and self.shutdown.phase is not Phase.RUNNING:
            self._resize(1, self.load().backlog, "a paused run goes on to drain")
        self._dispatch()
        is_done = (self.source_has_ended or self._stopping.has_abandoned) and not self.load().backlog
        if is_done:
            if self.shutdown.phase is Phase.DRAINING:
                self._news.append(ev.Draining(0))
            self._news.append(ev.JobsClosed())
        if self._news:
            self._events.put_all(self._news)
            self._news.clear()
        return is_done

    def _take_in(self, messages: list[Message]) -> None:
        in_flight, tell = self.hand.in_flight, self._news.append
        for message in messages:
            if not isinstance(message, Future):
                self._handle(message)
            elif (attempt := in_flight.pop(message, None)) is None:  # it was given up before
                if message in self.hand.overdue:
                    self.hand.overdue.remove(message)
                    self._fit_pool()
            else:
                try:
                    outcome = message.result()  # whatever else it raises: the pool itself broke
                except CancelledError:
                    tell(ev.JobUnfinished(attempt.job))
                    continue
                if isinstance(outcome, Succeeded):
                    self.hand.attempts_ended += 1
                    tell(_new(ev.JobSucceeded, (attempt, outcome)))
                else:
                    self._settle_failed(attempt, outcome)

    def _settle_failed(self, attempt: Attempt, outcome: Failed) -> None:
        if outcome.is_interrupted:
            self._news.append(ev.JobUnfinished(attempt.job, outcome))
            return
        hand = self.hand
        hand.note_failed_attempt(outcome)
        decision = self._retry.decide(attempt, outcome, self._now(), hand.started)
        if not isinstance(decision, RetryAfter):
            self._news.append(ev.JobFailed(attempt, outcome))
            self._stopping.consider_halt(self.source_has_ended)
        elif not self.shutdown.may_start:
            self._news.append(ev.JobUnfinished(attempt.job, outcome))
        else:
            delay_s = decision.delay_s if self.shutdown.phase is Phase.RUNNING else 0.0
            hand.retries.push(self._now() + delay_s, Attempt(attempt.job, attempt.number + 1))
            self._news.append(ev.JobRetrying(attempt, outcome, self._retry.max_retries, delay_s))

    def _free(self) -> int:  # how many attempts could be started
        return 0 if self._is_held else self._window - len(self.hand.in_flight)

    def _room(self) -> int:
        """How many new jobs could be started; none while the capped heap of retries is full."""
        if not self.shutdown.may_start or len(self.hand.retries) >= (self._backlog.capacity or 1):
            return 0
        return self._free()

    def _dispatch(self) -> None:
        self._is_held = not self._events.has_room()
        if not self.shutdown.may_start:
            for job in self._backlog.take_nowait():  # the producer may still be offering the one it drew
                self._news.append(ev.JobUnfinished(job))
            return
        if self.hand.retries:
            self._start(self.hand.retries.take_due(self._now(), self._free()))
        room = self._room()
        if room > 0:
            attempts = [_new(Attempt, (job, job[2] + 1)) for job in self._backlog.take_nowait(room)]
            self.hand.started += len(attempts)
            self._start(attempts)

    def _start(self, attempts: list[Attempt]) -> None:
        submit, work = self._executor.submit, self._work
        in_flight, put = self.hand.in_flight, self._inbox.put
        for attempt in attempts:
            future = submit(run_attempt, work, attempt)
            in_flight[future] = attempt
            future.add_done_callback(put)

    def _handle(self, message: Message) -> None:  # noqa: C901, PLR0912 - one case per message
        tell = self._news.append
        match message:
            case msg.Resize(decision, load):
                if decision.warning:
                    tell(ev.Warned(decision.warning))
                least = 0 if self.shutdown.phase is Phase.RUNNING else 1  # a paused run could not drain
                self._resize(max(least, decision.limit), load.runnable, decision.reason)
            case msg.TimedOut(attempt, failed):
                if self.hand.set_overdue(attempt):
                    self._fit_pool()
                    self._settle_failed(attempt, failed)
                    if len(self.hand.overdue) >= MOST_OVERDUE:
                        self._stopping.drain_running(f"{MOST_OVERDUE} calls hang and cannot be ended")
            case msg.SourceEnded(is_complete, error):
                self.source_has_ended = True
                self.is_source_complete = is_complete
                self.error = self.error or error
            case msg.RateMissed(target_per_s):
                tell(ev.SourceStalled(target_per_s, len(self._backlog), self._backlog.capacity or 0))
            case msg.RateKept(target_per_s):
                tell(ev.SourceResumed(target_per_s))
            case msg.Drain(reason, signal):
                self._stopping.drain(reason, signal)
            case msg.Abort(reason, signal):
                self._stopping.abort(reason, signal)
            case msg.Crashed(_, error):
                self.error = self.error or error
                self.source_has_ended = True  # whichever thread it was, nothing is to be waited for
                self._stopping.abort(f"internal error: {error!r}")
            case msg.EngineLost(error):
                self.error = self.error or error
                self._stopping.abort(str(error))
            case msg.SinkFailed(error):
                self.error = self.error or error
                if isinstance(error, OutputError) and error.reader_gone:
                    self._stopping.abort(str(error))
                elif isinstance(error, IoFault):  # what runs on would run for nothing
                    self._stopping.drain_running(f"a result could not be written: {error}")
                else:
                    self._stopping.drain(f"a result could not be delivered: {error!r}")

    def _resize(self, limit: int, backlog: int, reason: str) -> None:
        if limit != self.limit:
            self._news.append(ev.LimitChanged(self.limit, limit, backlog, reason))
            self.limit, self._window = limit, self._per_worker * limit
            self._fit_pool()

    def _fit_pool(self) -> None:  # a spare worker stands in for each that is stuck in an overdue call
        self._executor.resize(self.limit + len(self.hand.overdue))

    def _next_wake_s(self) -> float | None:
        """Seconds until something is due by itself; None when only a message can change anything."""
        due_s = min(self.shutdown.next_due_s, self.hand.retries.next_due_s())
        return None if due_s == float("inf") else due_s - self._now()
