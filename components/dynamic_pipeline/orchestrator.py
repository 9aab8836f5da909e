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
from dynamic_pipeline.attempts import Attempt, Failed, Outcome, Succeeded, Work, run_attempt
from dynamic_pipeline.errors import OutputError
from dynamic_pipeline.executors import ResizableExecutor
from dynamic_pipeline.handover import Handover
from dynamic_pipeline.inbox import Message
from dynamic_pipeline.jobs import Job
from dynamic_pipeline.lifecycle import Due, Phase, Shutdown
from dynamic_pipeline.napping import NAP_S, reserve_outlasts_nap
from dynamic_pipeline.retry import RetryAfter, RetryPolicy
from dynamic_pipeline.scaling import Load
from dynamic_pipeline.stop import Stop
from dynamic_pipeline.waiting import WaitingRetries

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
        events: Handover[ev.Event],
        stop: Stop,
        *,
        retry: RetryPolicy,
        drain_all: bool = True,
        drain_timeout_s: float | None = None,
        abort_patience_s: float = 2.5,  # a job that still runs then is given up
        now: Callable[[], float] = monotonic,
    ) -> None:
        self._work, self._executor = work, executor
        self._backlog, self._inbox, self._events = backlog, inbox, events
        self._stop = stop  # no more records are drawn; set here only
        self._retry = retry
        self._drain_all = drain_all
        self.shutdown = Shutdown(drain_timeout_s, abort_patience_s)
        self._now = now
        self.limit = limit  # written here only; others may read it, and may be late
        self._window = 2 * limit  # attempts in flight at the most
        self._in_flight: dict[Future[Outcome], Attempt] = {}
        self._retries = WaitingRetries()
        self._news: list[ev.Event] = []  # what this step will tell
        self._source_has_ended = False
        self._is_held = False  # the collector is far behind: nothing is started
        # How the run ended, for the one who asked for it. Read after `run` has returned.
        self.is_source_complete = False
        self.error: BaseException | None = None
        self.is_abandoned = False  # a job that would not end was left behind on its thread

    def load(self) -> Load:
        """A snapshot for the supervisor; any thread may take it."""
        return Load(len(self._backlog), len(self._in_flight), len(self._retries), self.limit)

    def run(self, nap: Callable[[float], object] = sleep) -> None:
        """Step until no accepted job is left. It waits for messages only, so a signal is always heard."""
        self._events.put(ev.RunStarted(self.limit))
        messages: list[Message] = []
        before_s = 0.0
        while not self.step(messages):
            now_s = self._now()
            if reserve_outlasts_nap(len(self._in_flight) - self.limit, len(messages), now_s - before_s):
                nap(NAP_S)
            before_s = now_s
            self._backlog.is_wanted = self._room() > 0
            messages = self._inbox.take_wait(self._next_wake_s(), or_ready=self._may_go_on)

    def _may_go_on(self) -> object:
        """There is something to do that no message tells of; asked between parking and sleeping."""
        return self._backlog if self._backlog.is_wanted else self._is_held and self._events.has_room()

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
                if isinstance(outcome, Succeeded):
                    tell(_new(ev.JobSucceeded, (attempt, outcome)))
                else:
                    self._settle_failed(attempt, outcome)
        self._let_time_pass()
        self._dispatch()
        is_done = self._source_has_ended and not self.load().backlog
        if is_done:
            if self.shutdown.phase is Phase.DRAINING:
                tell(ev.Draining(0))
            tell(ev.JobsClosed())
        if self._news:
            self._events.put_all(self._news)
            self._news.clear()
        return is_done

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
            self._retries.push(self._now() + decision.delay_s, again)
            self._news.append(ev.JobRetrying(attempt, outcome, self._retry.max_retries))

    def _may_start(self) -> bool:
        phase = self.shutdown.phase
        return phase is Phase.RUNNING or (phase is Phase.DRAINING and self._drain_all)

    def _free(self) -> int:  # how many attempts could be started
        return 0 if self._is_held else self._window - len(self._in_flight)

    def _room(self) -> int:
        """How many new jobs could be started; none while the capped heap of retries is full."""
        if not self._may_start() or len(self._retries) >= (self._backlog.capacity or 1):
            return 0
        return self._free()

    def _dispatch(self) -> None:
        self._is_held = not self._events.has_room()
        if not self._may_start():
            for job in self._backlog.take_nowait():  # the producer may still be offering the one it drew
                self._news.append(ev.JobUnfinished(job))
            return
        if self._retries:
            now, free = self._now(), self._free()
            due: list[Attempt] = []
            while len(due) < free and self._retries.next_due_s() <= now:
                due.append(self._retries.pop())
            self._start(due)
        room = self._room()
        if room > 0:
            self._start([_new(Attempt, (job, 1)) for job in self._backlog.take_nowait(room)])

    def _start(self, attempts: list[Attempt]) -> None:
        submit, work, in_flight, put = self._executor.submit, self._work, self._in_flight, self._inbox.put
        for attempt in attempts:
            future = submit(run_attempt, work, attempt)
            in_flight[future] = attempt
            future.add_done_callback(put)

    def _handle(self, message: Message) -> None:  # noqa: C901 - one case per message
        tell = self._news.append
        match message:
            case msg.Resize(decision, load):
                if decision.limit != self.limit:
                    tell(ev.LimitChanged(self.limit, decision.limit, load.backlog, decision.reason))
                    self.limit = decision.limit
                    self._window = 2 * decision.limit
                    self._executor.resize(decision.limit)
            case msg.SourceEnded(is_complete, error):
                self._source_has_ended = True
                self.is_source_complete = is_complete
                self.error = self.error or error
            case msg.RateMissed(target_per_s):
                tell(ev.SourceStalled(target_per_s, len(self._backlog), self._backlog.capacity or 0))
            case msg.RateKept(target_per_s):
                tell(ev.SourceResumed(target_per_s))
            case msg.Drain(reason, signal):
                self._begin_drain(reason, signal)
            case msg.Abort(reason, signal):
                self._begin_abort(reason, signal)
            case msg.Crashed(_, error):
                self.error = self.error or error
                self._source_has_ended = True  # whichever thread it was, nothing is to be waited for
                self._begin_abort(f"internal error: {error!r}", None)
            case msg.SinkFailed(error):
                self.error = self.error or error
                if isinstance(error, OutputError) and error.reader_gone:
                    self._begin_abort(str(error), None)
                else:
                    self._begin_drain(f"a result could not be written: {error}", None)

    def _begin_drain(self, reason: str, signal: int | None) -> None:
        if not self.shutdown.enter(Phase.DRAINING, self._now(), signal):
            return
        self._stop.set()
        self._news.append(ev.DrainStarted(reason, signal, self.load().backlog, self.limit))
        if not self._drain_all:
            self._give_up_waiting()

    def _begin_abort(self, reason: str, signal: int | None) -> None:
        if not self.shutdown.enter(Phase.ABORTING, self._now(), signal):
            return
        self._stop.set()
        self._news.append(ev.AbortStarted(reason, self.load().backlog))
        self._give_up_waiting()
        getattr(self._work, "abort", lambda: None)()

    def _give_up_waiting(self) -> None:
        """Leave undone what has not begun: waiting retries, and calls that wait inside the executor."""
        for attempt in self._retries.take_all():
            self._news.append(ev.JobUnfinished(attempt.job))
        for future in tuple(self._in_flight):
            future.cancel()  # if it has not begun, its callback brings it back as cancelled

    def _let_time_pass(self) -> None:
        for due in self.shutdown.take_due(self._now()):
            match due:
                case Due.REPORT:
                    self._news.append(ev.Draining(self.load().backlog))
                case Due.DRAIN_TIMEOUT:
                    self._begin_abort("drain timeout", None)
                case Due.ABANDON:
                    self._abandon()

    def _abandon(self) -> None:
        """Count jobs that would not end as unfinished; their threads are left behind."""
        self.is_abandoned = bool(self._in_flight)
        for attempt in self._in_flight.values():
            self._news.append(ev.JobUnfinished(attempt.job))
        self._in_flight.clear()
        self._source_has_ended = True  # a source that hangs as well is not waited for

    def _next_wake_s(self) -> float | None:
        """Seconds until something is due by itself; None when only a message can change anything."""
        due_s = self.shutdown.next_due_s
        if self._free() > 0:
            due_s = min(due_s, self._retries.next_due_s())
        return None if due_s == float("inf") else due_s - self._now()
