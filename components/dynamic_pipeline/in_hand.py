"""The attempts that the orchestrator has in hand: in flight, waiting to be tried again, or stuck in a call."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future

from dynamic_pipeline.attempts import Attempt, Failed, Outcome
from dynamic_pipeline.jobs import Job
from dynamic_pipeline.scaling import Load
from dynamic_pipeline.waiting import WaitingRetries

MOST_OVERDUE = 500  # each holds a thread for good; a system that hands out more will stop at some number


class InHand:
    """Owned by the orchestrator's thread; others may read lengths, and may be late."""

    def __init__(self, is_overload: Callable[[Failed], bool]) -> None:
        self._is_overload = is_overload
        self.overloads = 0  # failures that mean overload
        self.in_flight: dict[Future[Outcome], Attempt] = {}  # in the order in which they were started
        self.retries = WaitingRetries()
        self.overdue: set[Future[Outcome]] = (
            set()
        )  # calls that took too long and run on; their jobs have ended
        self.started = 0  # jobs whose first attempt was started
        self.attempts_ended = self.attempts_failed = 0  # those that were cut short do not count
        self.jobs_failed = 0  # for good
        self._busy = (0.0, 0.0)  # seconds that workers have worked, until when

    @property
    def ended(self) -> int:
        """Jobs that have begun and are over."""
        return self.started - len(self.in_flight) - len(self.retries)

    @property
    def oldest(self) -> Job | None:
        """Of the jobs in flight, the one that was started first."""
        return next((attempt.job for attempt in self.in_flight.values()), None)

    def pass_time(self, now_s: float, limit: int) -> None:
        """Count what workers have worked since the last time; nothing has begun or ended meanwhile."""
        self._busy = self._busy[0] + self._worked_s(now_s, limit), now_s

    def _worked_s(self, now_s: float, limit: int) -> float:
        return min(len(self.in_flight), limit) * max(0.0, now_s - self._busy[1])

    def load(self, queued: int, limit: int, capacity: int, now_s: float) -> Load:
        """A snapshot; *queued* jobs wait in the bounded queue of *capacity*, *limit* workers are allowed."""
        return Load(
            queued,
            len(self.in_flight),
            len(self.retries),
            limit,
            self.retries.delayed,
            now_s,
            self._busy[0] + self._worked_s(now_s, limit),
            self.started,
            max(0, self.ended),
            capacity,
            self.overloads,
        )

    def note_failed_attempt(self, failed: Failed) -> None:
        self.overloads += self._is_overload(failed)
        self.attempts_ended += 1
        self.attempts_failed += 1

    def set_overdue(self, attempt: Attempt) -> bool:
        """The call of *attempt* took too long; False if it has just ended."""
        future = next((future for future, mine in self.in_flight.items() if mine is attempt), None)
        if future is None:
            return False
        del self.in_flight[future]
        self.overdue.add(future)
        return True

    @property
    def is_stuck(self) -> bool:
        """An overdue call still runs."""
        return not all(future.done() for future in self.overdue)

    def give_up_waiting(self) -> list[Job]:
        """Leave undone what has not begun: waiting retries, which are returned, and calls inside the executor.

        Such a call is cancelled, and its callback brings it back.
        """
        for future in tuple(self.in_flight):
            future.cancel()
        return [attempt.job for attempt in self.retries.take_all()]

    def abandon(self) -> list[Job]:
        """Let go of the jobs in flight; their threads are left behind."""
        jobs = [attempt.job for attempt in self.in_flight.values()]
        self.in_flight.clear()
        return jobs
