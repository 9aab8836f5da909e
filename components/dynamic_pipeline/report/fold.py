"""A run's attempts, folded one by one into what the report shows; memory does not grow with their number."""

from __future__ import annotations

import heapq
from collections import Counter
from typing import NamedTuple

from dynamic_pipeline.jobs import JobState
from dynamic_pipeline.journal.report_reader import Try
from dynamic_pipeline.report.gantt import Gantt, GanttBar
from dynamic_pipeline.report.spread import Spread
from dynamic_pipeline.report.timeline import Intervals
from dynamic_pipeline.stats import OTHER_CAUSES, cause_of

US_PER_S = 1e6
_SLOWEST = 20
_LISTED = 10  # jobs of a cause, and jobs that needed a retry
_MOST_CAUSES = 1000


class Kept(NamedTuple):
    """An attempt that a table shows."""

    run_us: int
    seq: int
    number: int
    outcome: str
    error: str


class Fold:
    """Add all attempts, those of a job together and in order, then `close`. Times are cut to *start_us* … *end_us*."""

    def __init__(self, start_us: int, end_us: int, tries: int, *, is_running: bool) -> None:
        span_s = (end_us - start_us) / US_PER_S
        self.fates: Counter[str] = (
            Counter()
        )  # of jobs: succeeded, failed, retrying, running, interrupted, held
        self.outcomes: Counter[str] = Counter()  # of attempts
        self.flaky = 0  # succeeded after a failure
        self.flaky_jobs: list[Kept] = []
        self.causes: Counter[str] = Counter()  # of jobs that failed for good
        self.failed_jobs: dict[str, list[Kept]] = {}
        self.run_times = Spread()  # of attempts that have ended
        self.waits = Spread()  # of jobs, from when they could have begun to their first attempt
        self.busy_us = 0  # of workers, with attempts of which that is known
        self.intervals = Intervals(span_s)
        self.gantt = Gantt(span_s, tries)
        self._start_us, self._end_us = start_us, end_us
        self._is_running = is_running
        self._slowest: list[tuple[int, int, Kept]] = []
        self._job: list[Try] = []

    def add(self, one: Try) -> None:
        if self._job and self._job[-1].seq != one.seq:
            self._settle()
        # Only the ends matter; a job may have been tried very often.
        self._job = [*self._job[:1], one]
        begin_us = self._within(one.started_us)
        outcome = one.outcome or ("running" if self._is_running else "interrupted")
        has_ended = outcome in {"succeeded", "failed", "timeout"}
        end_us = self._within(one.ended_us if has_ended and one.ended_us is not None else self._end_us)
        end_us = max(begin_us, end_us)
        self.outcomes[outcome] += 1
        if has_ended or _is_timed(one):
            self.busy_us += end_us - begin_us
        bar = GanttBar(self._s(begin_us), self._s(end_us), one.seq, one.number, outcome)
        self.gantt.add(one.worker, bar)
        if not has_ended:
            return
        run_us = end_us - begin_us
        self.run_times.add(run_us)
        self.intervals.add(self._s(end_us), run_us, has_failed=outcome != "succeeded")
        kept = Kept(run_us, one.seq, one.number, outcome, one.error or "")
        entry = (run_us, -one.seq, kept)
        if len(self._slowest) < _SLOWEST:
            heapq.heappush(self._slowest, entry)
        elif entry > self._slowest[0]:
            heapq.heapreplace(self._slowest, entry)

    def close(self) -> None:
        if self._job:
            self._settle()

    @property
    def slowest(self) -> list[Kept]:
        """Attempts, the longest first."""
        return [kept for *_, kept in sorted(self._slowest, reverse=True)]

    def _within(self, us: int) -> int:
        return min(max(us, self._start_us), self._end_us)

    def _s(self, us: int) -> float:
        return (us - self._start_us) / US_PER_S

    def _settle(self) -> None:
        first, last = self._job[0], self._job[-1]
        self._job = []
        if first.accepted_us is not None and _is_timed(first):
            self.waits.add(first.started_us - max(first.accepted_us, self._start_us))
        fate = fate_of(last, is_running=self._is_running)
        self.fates[fate] += 1
        kept = Kept((last.ended_us or 0) - last.started_us, last.seq, last.number, fate, last.error or "")
        if fate == "succeeded" and last.number > 1:
            self.flaky += 1
            if len(self.flaky_jobs) < _LISTED:
                self.flaky_jobs.append(kept)
        if fate == "failed":
            cause = cause_of(last.error or "no reason on record")
            if cause not in self.causes and len(self.causes) >= _MOST_CAUSES:
                cause = OTHER_CAUSES
            self.causes[cause] += 1
            jobs = self.failed_jobs.setdefault(cause, [])
            if len(jobs) < _LISTED:
                jobs.append(kept)


def _is_timed(one: Try) -> bool:
    """Whether it is known when a worker took it on: before it ends, only when one was allowed to is on record."""
    return one.outcome is not None and one.worker != ""


def fate_of(last: Try, *, is_running: bool) -> str:
    """What became of a job within the run that has *last* as the last attempt at it."""
    if last.outcome == "succeeded":
        return "succeeded"
    if last.outcome is None:
        return "running" if is_running else "interrupted"
    if last.outcome == "interrupted":
        return "held" if last.state is JobState.HELD else "interrupted"
    # A resumed run counts on; one that tries failed jobs again begins at 1.
    if last.next_number is not None:
        return "retrying" if last.next_number > last.number else "failed"
    return "retrying" if last.state is JobState.RETRYING else "failed"
