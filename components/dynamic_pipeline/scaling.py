"""How many workers may run: the policies, as pure rules.

`target` has a module of its own. The threshold rule is the seed's: `backlog >= grow_threshold` adds one worker, `backlog <=
shrink_threshold` removes one, both inclusive, once per check interval.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol


class Load(NamedTuple):
    """The state of a run as the supervisor sees it; lengths that are read one by one, so off by a job in motion."""

    queued: int  # accepted, waiting in the bounded queue
    in_flight: int  # handed to the executor
    waiting: int  # failed, waiting to be tried again
    limit: int  # workers allowed
    delayed: int = 0  # of those waiting: their time has not come
    now_s: float = 0.0  # when it was, on any clock that only goes forward
    busy_s: float = 0.0  # seconds that workers have worked so far, those that still run included
    started: int = 0  # jobs that have left the queue so far
    ended: int = 0  # and of those, how many are over
    capacity: int = 0  # jobs that the queue holds; 0: nobody knows
    overloads: int = 0  # failures so far that mean overload, see `ceilings.Overload`

    @property
    def running(self) -> int:
        """Those of the jobs in flight that a worker has: what is beyond the limit waits inside the pool."""
        return min(self.in_flight, self.limit)

    @property
    def backlog(self) -> int:
        """Accepted and unfinished jobs. Derived, so it cannot drift."""
        return self.queued + self.in_flight + self.waiting

    @property
    def runnable(self) -> int:
        """The backlog that more workers could work on: a retry that waits for its time is not."""
        return max(0, self.backlog - self.delayed)


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

    With *grow_age_s* a short queue of long jobs lets the pool grow too: once its oldest job has waited that
    long, as far as the checks can tell.

    Raises:
        ValueError: not 1 <= min_workers <= max_workers, or shrink_threshold >= grow_threshold.
    """

    min_workers: int
    max_workers: int
    grow_threshold: int = 50  # jobs
    shrink_threshold: int = 10  # jobs
    grow_age_s: float | None = None
    _accepted: deque[tuple[float, int]] = field(default_factory=deque, compare=False, repr=False)

    def __post_init__(self) -> None:
        check_bounds(self.min_workers, self.max_workers)
        if not 0 <= self.shrink_threshold < self.grow_threshold:
            raise ValueError(
                f"shrink_threshold is {self.shrink_threshold} and grow_threshold is {self.grow_threshold}; "
                "shrink_threshold must be at least 0 and less than grow_threshold"
            )

    def start(self) -> int:
        return self.min_workers

    def decide(self, load: Load) -> Decision:
        limit, backlog = load.limit, load.runnable
        reason = f"backlog {backlog} >= {self.grow_threshold}" if backlog >= self.grow_threshold else ""
        if self.grow_age_s is not None and (age_s := self._oldest_s(load)) >= self.grow_age_s:
            reason = reason or f"oldest queued job {age_s:g}s >= {self.grow_age_s:g}s"
        if reason:
            if limit < self.max_workers:
                return Decision(limit + 1, reason)
            return Decision(self.max_workers, "at the maximum")
        if backlog <= self.shrink_threshold:
            if limit > self.min_workers:
                return Decision(limit - 1, f"backlog {backlog} <= {self.shrink_threshold}")
            return Decision(self.min_workers, "at the minimum")
        return Decision(limit, "between the thresholds")

    def _oldest_s(self, load: Load) -> float:
        """For how long the oldest queued job has been seen to wait; no longer than it has."""
        seen = self._accepted  # how many jobs had been accepted, at each check
        if not seen or seen[-1][1] < load.started + load.queued:
            seen.append((load.now_s, load.started + load.queued))
        while seen and seen[0][1] <= load.started:  # all of those have left the queue
            seen.popleft()
        return load.now_s - seen[0][0] if seen else 0.0


@dataclass(frozen=True)
class FixedScaling:
    """Always *max_workers*."""

    max_workers: int

    def __post_init__(self) -> None:
        check_bounds(self.max_workers, self.max_workers)

    def start(self) -> int:
        return self.max_workers

    def decide(self, load: Load) -> Decision:  # noqa: ARG002 - the load does not matter to it
        return Decision(self.max_workers, "fixed")


@dataclass(frozen=True)
class FunctionScaling:
    """A function of the load that gives the number of workers; less than one is one.

    Before anything runs it is asked with a load of nothing.

    Raises, from `start` and `decide`:
        TypeError: it gives no whole number.
    """

    fn: Callable[[Load], int]

    def start(self) -> int:
        return self.decide(Load(0, 0, 0, 0)).limit

    def decide(self, load: Load) -> Decision:
        name, limit = getattr(self.fn, "__name__", "the policy"), self.fn(load)
        if not isinstance(limit, int):
            raise TypeError(f"{name} gives {limit!r}; a policy gives a whole number of workers")
        return Decision(max(1, limit), f"{name} of backlog {load.runnable}")


def as_policy(policy: ScalingPolicy | Callable[[Load], int]) -> ScalingPolicy:
    """*policy* itself, or the function that it is made a policy of."""
    return policy if hasattr(policy, "decide") else FunctionScaling(policy)  # type: ignore[return-value]


def check_bounds(min_workers: int, max_workers: int) -> None:
    """What holds for every policy.

    Raises:
        ValueError: not 1 <= min_workers <= max_workers.
    """
    if not 1 <= min_workers <= max_workers:
        raise ValueError(
            f"min_workers is {min_workers} and max_workers is {max_workers}; "
            "there must be at least 1 worker and max_workers must not be less than min_workers"
        )
