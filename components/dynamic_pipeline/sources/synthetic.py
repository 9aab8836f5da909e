"""The seed's producer: a stream of jobs without payload, at a rate that changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import monotonic

from dynamic_pipeline.errors import SourceStopped
from dynamic_pipeline.handover import Bell
from dynamic_pipeline.pacing import Profile
from dynamic_pipeline.stop import Stop


class SyntheticSource:
    """Gives one job per interval of *profile*, until *jobs* were given or *duration_s* seconds have passed.

    The rate is the seed's rate channel: a change, by the profile or by `set_interval`, holds for the next
    job, also while the producer waits. What a full queue held up is not made up for: the next job comes
    one interval after the last was accepted.
    """

    def __init__(
        self,
        profile: Profile,
        stop: Stop,
        *,
        jobs: int | None = None,
        duration_s: float | None = None,
        now: Callable[[], float] = monotonic,
    ) -> None:
        self._profile = profile
        self._stop = stop
        self._jobs = jobs
        self._duration_s = duration_s
        self._now = now
        self._interval_s: float | None = None  # set from outside; None: the profile's
        self._bell = Bell()
        self._began_s: float | None = None
        self.is_endless = jobs is None and duration_s is None
        stop.tell(self._bell.ring)

    def set_interval(self, interval_s: float | None) -> None:
        """From the next job on, one job per *interval_s* seconds; None goes back to the profile.

        Any thread may call it.

        Raises:
            ValueError: the interval is negative.
        """
        if interval_s is not None and not interval_s >= 0:
            raise ValueError(f"interval_s is {interval_s}; it must be at least 0 seconds")
        self._interval_s = interval_s
        self._bell.ring()

    @property
    def rate_per_s(self) -> float | None:
        """Jobs per second that it aims at now; None when it does not wait between jobs."""
        interval_s = self._current_interval_s()
        return 1 / interval_s if interval_s > 0 else None

    def __iter__(self) -> Iterator[None]:
        self._began_s = due_s = self._now()
        end_s = float("inf") if self._duration_s is None else due_s + self._duration_s
        given = 0
        while self._jobs is None or given < self._jobs:
            if given:
                due_s = self._wait_interval(self._now(), end_s)
            if due_s >= end_s or self._now() >= end_s:
                return
            given += 1
            yield None

    def _wait_interval(self, last_s: float, end_s: float) -> float:
        """Wait until the next job is due, by the rate as it is by then; return when that was."""
        while True:
            if self._stop.is_set:
                raise SourceStopped
            asked_s = self._interval_s
            now_s = self._now()
            due_s = min(last_s + self._current_interval_s(), end_s)
            if due_s <= now_s:
                return due_s
            # Look again when the phase changes: a job that is due in 600 ms may be due at once by then.
            wake_s = min(due_s, now_s + (self._profile.change_in_s(self._elapsed_s()) or due_s - now_s))
            self._bell.wait(lambda: self._stop.is_set or self._interval_s is not asked_s, wake_s - now_s)  # noqa: B023

    def _current_interval_s(self) -> float:
        asked_s = self._interval_s
        return self._profile.interval_s(self._elapsed_s()) if asked_s is None else asked_s

    def _elapsed_s(self) -> float:
        return 0.0 if self._began_s is None else self._now() - self._began_s
