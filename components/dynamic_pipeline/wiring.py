"""Plain arguments → a started, owned, stoppable run. The only file that knows everyone."""

from __future__ import annotations

import contextlib
import copy
import itertools
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from dynamic_pipeline.attempts import Attempt, Failed, Work
from dynamic_pipeline.breaker import Breaker
from dynamic_pipeline.closing import wait_until, wait_written
from dynamic_pipeline.collector import Collector, Sink
from dynamic_pipeline.errors import IoFault, OutputError
from dynamic_pipeline.events import Event, JobUnfinished, RunFinished, Telling
from dynamic_pipeline.executors import ResizableExecutor
from dynamic_pipeline.executors.resizable import ResizableThreadPoolExecutor
from dynamic_pipeline.halting import HaltPolicy
from dynamic_pipeline.handover import Bell, Handover
from dynamic_pipeline.inbox import Abort, Crashed, Drain, EngineLost, Message, SinkFailed
from dynamic_pipeline.jobs import Job
from dynamic_pipeline.lifecycle import Ending
from dynamic_pipeline.orchestrator import Orchestrator
from dynamic_pipeline.owned_thread import OwnedThread
from dynamic_pipeline.producer import Producer
from dynamic_pipeline.retry import RetryPolicy
from dynamic_pipeline.scaling import Load, ScalingPolicy
from dynamic_pipeline.signals import SignalInbox
from dynamic_pipeline.stats import Stats
from dynamic_pipeline.stop import Stop
from dynamic_pipeline.summary import Summary
from dynamic_pipeline.supervisor import Supervisor
from dynamic_pipeline.watchdog import Watchdog

if TYPE_CHECKING:
    from dynamic_pipeline.sources.journal_line import JournalLine

_EVENTS_CAPACITY = 4096  # events that wait for the collector before nothing more is started
_JOIN_S = 1.0  # how long the supervisor and the watchdog are waited for: a stalled file system may hold them
_FORCED_JOIN_S = 0.2  # after a forced stop, how long a thread stuck in a user's source is waited for
_worker_names = map("worker-{:02d}".format, itertools.count(1))  # unique for the life of the process


class Run:
    """A run that has been started. Its methods may be called from any thread."""

    def __init__(
        self,
        work: Work,
        source: Iterable[Any],
        *,
        policy: ScalingPolicy,
        retry: RetryPolicy,
        check_interval_s: float,
        queue_capacity: int,
        sinks: Sequence[Sink],
        drain_all: bool,
        drain_timeout_s: float | None,
        kill_grace_s: float,
        halt: HaltPolicy | None = None,
        breaker: Breaker | None = None,
        is_overload: Callable[[Failed], bool] = lambda _: False,
        call_timeout_s: float | None = None,
        journal: JournalLine | None = None,
        stop: Stop,
        close: Callable[[], object] = bool,
        on_end: Callable[[], object],
    ) -> None:
        bell = Bell()  # the orchestrator's: its inbox, its backlog and room in its events ring the same
        self._inbox: Handover[Message] = Handover(bell)
        self._backlog: Handover[Job] = Handover(bell, capacity=queue_capacity)
        self._events: Handover[Event] = Handover(capacity=_EVENTS_CAPACITY, room_bell=bell)
        self._stop_drawing, self._stop_supervising = stop, Stop()
        watching: list[OwnedThread] = []
        if call_timeout_s is not None:
            watchdog = Watchdog(work, call_timeout_s, self._inbox, self._stop_supervising)
            work = watchdog.work
            watching.append(OwnedThread("watchdog", watchdog.run, self._crashed))
        self._work = work
        getattr(work, "when_lost", bool)(lambda error: self._inbox.put(EngineLost(error)))
        self._is_endless = bool(getattr(source, "is_endless", False))
        self._close, self._on_end = close, on_end  # when all threads have ended: before it is told, and after
        self._kill_grace_s = kill_grace_s
        limit = policy.start()
        self._executor = ResizableThreadPoolExecutor(limit or 1, worker_names=_worker_names)
        self._executor.resize(limit)
        self._told: Telling = self._events
        executor: ResizableExecutor = self._executor
        self._journal = journal
        if journal is not None:
            self._told, executor = journal.stand_between(
                self._events, executor, bell, lambda error: self._inbox.put(SinkFailed(error)), self._crashed
            )
        self._orchestrator = Orchestrator(
            work,
            executor,
            limit,
            self._backlog,
            self._inbox,
            self._told,
            self._stop_drawing,
            retry=retry,
            halt=halt,
            breaker=breaker,
            is_overload=is_overload,
            looks_ahead=call_timeout_s is None,
            drain_all=drain_all,
            drain_timeout_s=drain_timeout_s,
            abort_patience_s=kill_grace_s + 0.5,
        )
        self._producer = Producer(source, self._backlog, self._inbox, self._stop_drawing)
        self._collector = Collector(self._events, sinks, self._inbox)
        load = self._orchestrator.load
        supervisor = Supervisor(policy, load, self._inbox, self._stop_supervising, check_interval_s)
        self._drawing = [OwnedThread("producer", self._producer.run, self._crashed)]
        if journal is not None:
            self._drawing.append(OwnedThread("reader", journal.source.read, self._crashed))
            supervisor.note = journal.note_decision
            self._orchestrator.shutdown.on_abort = journal.writer.hurry  # an abort waits for no disk
        watching.append(OwnedThread("supervisor", supervisor.run, self._crashed))
        self._feeding = [*self._drawing, *watching]
        self._collecting = OwnedThread("collector", self._collector.run, self._collector_crashed)
        self._conducting = OwnedThread("orchestrator", self._conduct, self._crashed)
        self._crash: BaseException | None = None
        self._accepted = 0
        self._is_mute = False
        self._ended = threading.Event()

    def start(self) -> Run:
        for thread in (self._collecting, self._conducting, *self._feeding):
            thread.start()
        return self

    @property
    def load(self) -> Load:
        """A snapshot of the backlog and the limit."""
        return self._orchestrator.load()

    @property
    def running(self) -> list[Attempt]:
        """Those that workers have, the first to begin first; off by the jobs in motion."""
        return list(self._orchestrator.hand.in_flight.values())[: self._orchestrator.limit]

    @property
    def accepted_at_end(self) -> int | None:
        """How many jobs were made of the records; None while there may be more."""
        return self._producer.accepted if self._orchestrator.source_has_ended else None

    def drain(self, reason: str = "asked to", *, signal: int | None = None) -> None:
        """Draw no more records and finish what was accepted; returns at once, and again changes nothing.

        An iterator that is just being asked for its next record is waited for: that record is run too.
        """
        self._inbox.put(Drain(reason, signal))

    def abort(self, reason: str = "asked to", *, signal: int | None = None) -> None:
        """Start nothing more, end running commands, wait briefly for running calls; returns at once."""
        self._inbox.put(Abort(reason, signal))

    def wait(self, timeout_s: float | None = None) -> bool:
        """Block until the run has ended, *timeout_s* seconds at the most; tell whether it has."""
        return self._ended.wait(timeout_s)

    def obey(self, signals: SignalInbox, last_resort: Callable[[], object] = lambda: None) -> None:
        """Let signals stop the run until it has ended: the first drains, the second aborts.

        The third leaves the process at once, after *last_resort*. Call it on the main thread, with the
        `wake` of *signals* as the run's `on_end`.
        """
        for stage, signum in signals:
            if stage == 1:
                self.drain("signal received", signal=signum)
            elif stage == 2:  # noqa: PLR2004 - the second of three
                self.abort("second signal", signal=signum)
            else:
                last_resort()
                os._exit(128 + signum)

    def result(self) -> Summary:
        """Wait for the end and tell how it went.

        A `KeyboardInterrupt` in this wait aborts the run, waits for what still runs, and goes on up.
        """
        try:
            self._ended.wait()
        except BaseException:
            self.abort("the caller was interrupted")
            self._ended.wait()
            raise
        return self._summary()

    def _conduct(self) -> None:
        """The orchestrator's thread: run the loop, then stop the others, whatever happened."""
        try:
            self._orchestrator.run()
        except BaseException as error:  # an error of ours: no thread may be left behind
            self._crash = error
        shutdown = self._orchestrator.shutdown
        # Overdue calls have been told to stop; a forced run has waited for them.
        hand = self._orchestrator.hand
        is_over = lambda: shutdown.is_forced or not hand.is_stuck  # noqa: E731
        wait_until(is_over, self._inbox, shutdown, patience_s=self._kill_grace_s)
        is_hopeless = self._orchestrator.is_abandoned or self._crash is not None
        self._stop_drawing.set()
        self._stop_supervising.set()
        if self._crash is not None:
            self._backlog.unbind()  # nobody takes from it any more
            with contextlib.suppress(BaseException):  # there is one error to tell of already
                getattr(self._work, "abort", bool)()
        for thread in self._feeding:
            # One of ours ends at once, unless the system does not let it.
            limit_s = None if thread in self._drawing else _JOIN_S
            thread.join(_FORCED_JOIN_S if shutdown.is_forced or is_hopeless else limit_s)
        self._executor.shutdown(wait=not is_hopeless, cancel_futures=True)
        self._accepted = self._producer.accepted  # a source that wakes later is not listened to any more
        for job in self._backlog.take_nowait():  # what it offered after the loop had ended
            self._told.put(JobUnfinished(job))
        self._told.put(RunFinished(is_graceful=not (shutdown.is_forced or self._crash)))
        self._is_mute = not wait_written(lambda: self._collector.has_ended, self._inbox, shutdown)
        if not self._is_mute:
            self._collecting.join()
        with contextlib.suppress(Exception):  # the run is over, whatever that finds
            self._close()
        self._ended.set()
        self._on_end()

    def _crashed(self, thread: str, error: BaseException) -> None:
        self._inbox.put(Crashed(thread, error))

    def _collector_crashed(self, thread: str, error: BaseException) -> None:
        self._events.unbind()
        self._crashed(thread, error)

    def _summary(self) -> Summary:
        stats: Stats = copy.copy(self._collector.stats)  # a collector that was given up may still count on
        orchestrator = self._orchestrator
        # The collector's own word counts too: the last batch is written when nobody reads the inbox any more.
        error = self._crash or orchestrator.error or self._collector.error
        if self._is_mute:
            text = "what takes the results has stalled; results of finished jobs were lost"
            error = error or OutputError(text, reader_gone=False)
        io_fault = isinstance(error, (OSError, IoFault))
        unfinished = stats.unfinished
        if self._is_mute:  # nobody knows more of the others than that they were not reported
            unfinished = self._accepted - stats.succeeded - stats.failed
        earlier = {} if self._journal is None else self._journal.source.earlier()
        ending = Ending(
            accepted=self._accepted,
            succeeded=stats.succeeded,
            failed=stats.failed,
            unfinished=unfinished,
            failed_before=earlier.get("failed_before", 0) + earlier.get("held", 0),
            is_source_complete=orchestrator.is_source_complete or self._is_endless,
            signal=orchestrator.shutdown.signal,
            is_forced=orchestrator.shutdown.is_forced,
            io_fault=io_fault,
            reader_gone=isinstance(error, OutputError) and error.reader_gone,
            crashed=error is not None and not io_fault,
        )
        return Summary.of(
            ending,
            stats,
            error=error,
            is_abandoned=orchestrator.is_abandoned or self._crash is not None,
            is_mute=self._is_mute,
            **earlier,
        )
