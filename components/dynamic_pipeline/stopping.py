"""How a run ends before its records do: drained, aborted, halted, or by the clock. The orchestrator's own."""

from __future__ import annotations

from collections.abc import Callable

from dynamic_pipeline import events as ev
from dynamic_pipeline.attempts import Work
from dynamic_pipeline.breaker import Breaker
from dynamic_pipeline.halting import HaltPolicy
from dynamic_pipeline.in_hand import InHand
from dynamic_pipeline.lifecycle import Due, Phase, Shutdown
from dynamic_pipeline.scaling import Load
from dynamic_pipeline.stop import Stop


class Stopping:
    """Called on the orchestrator's thread only; each of its steps is taken once, whoever asks again."""

    def __init__(
        self,
        shutdown: Shutdown,
        hand: InHand,
        load: Callable[[], Load],
        tell: Callable[[ev.Event], object],
        stop: Stop,
        work: Work,
        halt: HaltPolicy | None,
        breaker: Breaker | None,
        now: Callable[[], float],
    ) -> None:
        self._shutdown = shutdown
        self._hand, self._load, self._tell = hand, load, tell
        self._stop = stop  # no more records are drawn; set here only
        self._work = work
        self._halt = halt
        self._breaker = breaker
        self._noted = (0, 0)  # attempts, or jobs, that the breaker has heard of: ended, failed
        self._now = now
        self.has_abandoned = False  # the patience of an abort is over: nothing is waited for any more
        self.left_behind = False  # with a job that would not end

    def drain(self, reason: str, signal: int | None = None) -> None:
        if not self._shutdown.enter(Phase.DRAINING, self._now(), signal):
            return
        self._stop.set()
        load = self._load()
        left = load.backlog if self._shutdown.drain_all else min(load.in_flight, load.limit)
        self._tell(ev.DrainStarted(reason, signal, left, load.limit))
        if self._shutdown.drain_all:
            self._hand.retries.release()  # nobody waits for a backoff
        else:
            self._give_up_waiting()

    def drain_running(self, reason: str) -> None:
        """Start nothing more; the same where a drain that finishes everything has begun."""
        self._shutdown.drain_all = False
        self.drain(reason)
        self._give_up_waiting()

    def abort(self, reason: str, signal: int | None = None) -> None:
        if not self._shutdown.enter(Phase.ABORTING, self._now(), signal):
            return
        self._stop.set()
        self._tell(ev.AbortStarted(reason, self._load().backlog))
        self._give_up_waiting()
        getattr(self._work, "abort", bool)()

    def consider_breaker(self) -> None:
        """Attempts may have ended since the last time; too many failures among them ask for a drain."""
        if self._breaker is None:
            return
        hand = self._hand
        seen = (
            (hand.ended, hand.jobs_failed)
            if self._breaker.counts_jobs
            else (hand.attempts_ended, hand.attempts_failed)
        )
        ended, failed = seen[0] - self._noted[0], seen[1] - self._noted[1]
        self._noted = seen
        if reason := self._breaker.note(self._now(), ended, failed):
            self.drain(reason)

    def consider_halt(self, source_has_ended: bool) -> None:
        """One more job has failed for good."""
        self._hand.jobs_failed += 1
        failed = self._hand.jobs_failed
        total = self._hand.started + self._load().queued if source_has_ended else None
        if self._halt is None or not self._halt.is_reached(failed, self._hand.ended, total):
            return
        reason = f"--halt {self._halt}: {failed} failed"
        self.drain_running(reason)
        if self._halt.is_now:
            self.abort(reason)

    def let_time_pass(self) -> None:
        for due in self._shutdown.take_due(self._now()):
            match due:
                case Due.REPORT:
                    self._tell(self._report())
                case Due.DRAIN_TIMEOUT:
                    self.abort("drain timeout")
                case Due.ABANDON:
                    jobs = self._hand.abandon()
                    self.has_abandoned, self.left_behind = True, bool(jobs)
                    for job in jobs:
                        self._tell(ev.JobUnfinished(job))

    def _report(self) -> ev.Event:
        load = self._load()
        if self._shutdown.phase is Phase.DRAINING:
            return ev.Draining(load.backlog)
        return ev.Progress(load.backlog, load.waiting, load.limit, self._hand.oldest)

    def _give_up_waiting(self) -> None:
        for job in self._hand.give_up_waiting():
            self._tell(ev.JobUnfinished(job))
