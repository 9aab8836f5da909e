"""The seed's workload: jobs that take a while, some of which fail."""

from __future__ import annotations

import random
import threading
from typing import Any

from dynamic_pipeline.attempts import Attempt
from dynamic_pipeline.errors import AttemptFailed, Interrupted


class SimulatedWork:
    """Waits for a random time, then fails in about one of *failure_rate* attempts (0: never).

    The outcome of an attempt depends on seed, job and attempt number only, not on timing.
    """

    def __init__(self, seed: int, job_s: tuple[float, float], failure_rate: int) -> None:
        self._seed = seed
        self._shortest_s, self._longest_s = job_s
        self._failure_rate = failure_rate
        self._aborted = threading.Event()

    def __call__(self, attempt: Attempt) -> None:
        """One simulated attempt.

        Raises:
            AttemptFailed: it was one that fails. Interrupted: the run was forced to stop.
        """
        luck = random.Random(f"{self._seed}/{attempt.job.id}/{attempt.number}")  # noqa: S311 - not a secret
        duration_s = luck.uniform(self._shortest_s, self._longest_s)
        if duration_s > 0 and self._aborted.wait(duration_s):
            raise Interrupted("simulated job was cut short")
        if self._failure_rate and luck.random() * self._failure_rate < 1:
            raise AttemptFailed("simulated worker failure")

    def __reduce__(self) -> tuple[Any, ...]:  # what crosses to another process: an event cannot
        return SimulatedWork, (self._seed, (self._shortest_s, self._longest_s), self._failure_rate)

    def abort(self) -> None:
        """Cut all running jobs short. Returns at once."""
        self._aborted.set()
