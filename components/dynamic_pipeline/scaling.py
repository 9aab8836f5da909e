"""How many workers may run: the policies, as pure rules.

The threshold rule is the seed's: `backlog >= grow_threshold` adds one worker, `backlog <=
shrink_threshold` removes one, both inclusive, once per check interval.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol


class Load(NamedTuple):
    """The state of a run as the supervisor sees it; lengths that are read one by one, so off by a job in motion."""

    queued: int  # accepted, waiting in the bounded queue
    in_flight: int  # handed to the executor
    waiting: int  # failed, waiting to be tried again
    limit: int  # workers allowed
    delayed: int = 0  # of those waiting: their time has not come

    @property
    def backlog(self) -> int:
        """Accepted and unfinished jobs. Derived, so it cannot drift."""
        return self.queued + self.in_flight + self.waiting

    @property
    def runnable(self) -> int:
        """The backlog that more workers could work on: a retry that waits for its time is not."""
        return self.backlog - self.delayed


class Decision(NamedTuple):
    """How many workers there should be, and the rule that said so."""

    limit: int
    reason: str
    warning: str = ""  # for the log, if something about the rule is wrong


class ScalingPolicy(Protocol):
    """Any object with this method is a policy; it may keep memory, and is called by one thread."""

    def decide(self, load: Load) -> Decision:
        """The number of workers for *load*; called once per check interval."""
        ...

    def start(self) -> int:
        """The number of workers before the first decision."""
        ...


@dataclass(frozen=True)
class ThresholdScaling:
    """One worker more or less at a time, by the size of the backlog.

    Raises:
        ValueError: not 1 <= min_workers <= max_workers, or shrink_threshold >= grow_threshold.
    """

    min_workers: int
    max_workers: int
    grow_threshold: int = 50  # jobs
    shrink_threshold: int = 10  # jobs

    def __post_init__(self) -> None:
        _check_bounds(self.min_workers, self.max_workers)
        if not 0 <= self.shrink_threshold < self.grow_threshold:
            raise ValueError(
                f"shrink_threshold is {self.shrink_threshold} and grow_threshold is {self.grow_threshold}; "
                "shrink_threshold must be at least 0 and less than grow_threshold"
            )

    def start(self) -> int:
        return self.min_workers

    def decide(self, load: Load) -> Decision:
        limit, backlog = load.limit, load.runnable
        if backlog >= self.grow_threshold:
            if limit < self.max_workers:
                return Decision(limit + 1, f"backlog {backlog} >= {self.grow_threshold}")
            return Decision(self.max_workers, "at the maximum")
        if backlog <= self.shrink_threshold:
            if limit > self.min_workers:
                return Decision(limit - 1, f"backlog {backlog} <= {self.shrink_threshold}")
            return Decision(self.min_workers, "at the minimum")
        return Decision(limit, "between the thresholds")


@dataclass(frozen=True)
class FixedScaling:
    """Always *max_workers*."""

    max_workers: int

    def __post_init__(self) -> None:
        _check_bounds(self.max_workers, self.max_workers)

    def start(self) -> int:
        return self.max_workers

    def decide(self, load: Load) -> Decision:  # noqa: ARG002 - the load does not matter to it
        return Decision(self.max_workers, "fixed")


def _check_bounds(min_workers: int, max_workers: int) -> None:
    if not 1 <= min_workers <= max_workers:
        raise ValueError(
            f"min_workers is {min_workers} and max_workers is {max_workers}; "
            "there must be at least 1 worker and max_workers must not be less than min_workers"
        )
