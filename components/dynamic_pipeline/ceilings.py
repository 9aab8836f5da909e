"""Rules that keep a policy from more workers than are of use: they only ever lower what it decides. Pure, with a memory."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from dynamic_pipeline.attempts import Failed
from dynamic_pipeline.reports import CommandReport
from dynamic_pipeline.retry import parse_codes
from dynamic_pipeline.scaling import Decision, Load, ScalingPolicy

_LONGEST_TTL_S = 600.0
_LEAST_STEP = (
    1.5  # the last one, to the maximum, is shorter than a doubling; what is less cannot be told from noise
)


class Ceiling(NamedTuple):
    """No more workers than that, and why."""

    most: float  # infinite: any number
    reason: str


_NONE = Ceiling(float("inf"), "")


class Guard(Protocol):
    """Looks at the load once per check."""

    def look(self, load: Load) -> Ceiling: ...


@dataclass
class GuardedScaling:
    """A policy below ceilings: the least of all decides, and its reason is the decision's."""

    policy: ScalingPolicy
    guards: Sequence[Guard]

    def start(self) -> int:
        return self.policy.start()

    def decide(self, load: Load) -> Decision:
        decision = self.policy.decide(load)
        for ceiling in [guard.look(load) for guard in self.guards]:
            if decision.limit > ceiling.most:
                decision = decision._replace(limit=int(ceiling.most), reason=ceiling.reason)
        return decision


@dataclass
class Efficiency:
    """The pool grows by doublings, and past each only if it was worth it.

    For work that more threads do not speed up: the interpreter's lock, a service that is saturated. At
    *min_workers*, twice that, four times … the throughput is measured while the workers are all busy and more waits, until
    *min_samples* jobs have ended. From a to b workers the gain is (throughput of b / that of a - 1) / (b / a - 1): 1 is ideal. Less than
    *min_gain* makes a the ceiling for *ttl_s* seconds, then it is tried again; each time it fails that is twice as long, ten minutes at the most.

    Only doublings are judged: with jobs whose lengths vary as the seed's do, 40 of them tell a gain of nothing from 0.25
    (two standard deviations); from 7 to 8 workers it would take 928.

    Raises:
        ValueError: a value is out of its bounds.
    """

    min_workers: int
    max_workers: int
    min_gain: float = 0.25
    min_samples: int = 40
    ttl_s: float = 60.0
    _speeds: dict[int, float] = field(default_factory=dict, repr=False)  # jobs per second, by workers
    _seconds: float = 0.0  # measured so far, at the present size
    _jobs: int = 0
    _before: Load | None = field(default=None, repr=False)
    _ceiling: Ceiling = _NONE
    _until_s: float = 0.0  # the ceiling holds
    _next_ttl_s: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.min_gain <= 1:
            raise ValueError(f"min_gain is {self.min_gain}; it must be more than 0, and 1 at the most")
        if self.min_samples < 1 or not self.ttl_s > 0:
            raise ValueError(
                f"min_samples is {self.min_samples} and ttl_s is {self.ttl_s}; they must be at least 1 and more than 0"
            )
        self._next_ttl_s = self.ttl_s

    def look(self, load: Load) -> Ceiling:
        if self._ceiling.most < self.max_workers and load.now_s >= self._until_s:
            # What is larger is measured anew; what was well, is.
            self._speeds = {size: speed for size, speed in self._speeds.items() if size <= self._ceiling.most}
            self._ceiling = _NONE
        self._measure(load)
        if self._ceiling.most < self.max_workers:
            return self._ceiling
        size = self._next_size(load.limit)
        return Ceiling(max(load.limit, size), f"measuring what {size} workers do")

    def _next_size(self, limit: int) -> int:
        """The first that was not measured, and is not behind us."""
        size = self.min_workers
        while (size in self._speeds or size < limit) and size < self.max_workers:
            size = min(2 * size, self.max_workers)
        return size

    def _measure(self, load: Load) -> None:
        before, self._before = self._before, load
        if before is None or before.limit != load.limit:
            self._seconds, self._jobs = 0.0, 0
            return
        if not (_is_saturated(before) and _is_saturated(load)):
            return
        self._seconds += load.now_s - before.now_s
        self._jobs += load.ended - before.ended
        if self._jobs >= self.min_samples and self._seconds > 0:
            self._judge(load.limit, self._jobs / self._seconds, load.now_s)
            self._seconds, self._jobs = 0.0, 0

    def _judge(self, size: int, speed: float, now_s: float) -> None:
        self._speeds[size] = speed
        smaller = max((other for other in self._speeds if other < size), default=None)
        if smaller is None or size < _LEAST_STEP * smaller:
            return
        gain = (speed / self._speeds[smaller] - 1) / (size / smaller - 1)
        if gain >= self.min_gain:
            self._next_ttl_s = self.ttl_s
            return
        self._ceiling = Ceiling(
            smaller, f"efficiency: from {smaller} to {size} workers gained {gain:.2f} of the ideal"
        )
        self._until_s = now_s + self._next_ttl_s
        self._next_ttl_s = min(2 * self._next_ttl_s, _LONGEST_TTL_S)


def _is_saturated(load: Load) -> bool:
    """All workers work, and more waits."""
    return load.in_flight >= load.limit and load.runnable > load.limit


@dataclass
class Overload:
    """Fewer workers after failures that mean that something is overloaded: additive increase, multiplicative decrease.

    At a check since which there were such failures the ceiling becomes *factor* of the workers allowed; without one it rises by
    one worker each *recover_s* seconds. That is what congestion control does (Chiu and Jain, 1989), but ordinary failures do not count: with
    one attempt in ten failing it would hold eight workers down at four.

    Raises:
        ValueError: a value is out of its bounds.
    """

    min_workers: int
    max_workers: int
    factor: float = 0.7
    recover_s: float = 10.0
    _seen: int = 0
    _most: int | None = None
    _changed_s: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.factor < 1 or not self.recover_s > 0:
            raise ValueError(
                f"factor is {self.factor} and recover_s is {self.recover_s}; they must be between 0 and 1, and more than 0"
            )

    def look(self, load: Load) -> Ceiling:
        if load.overloads > self._seen:
            self._seen, self._changed_s = load.overloads, load.now_s
            self._most = max(self.min_workers, int(load.limit * self.factor))
        elif self._most is not None and load.now_s - self._changed_s >= self.recover_s:
            self._changed_s = load.now_s
            self._most = self._most + 1 if self._most + 1 < self.max_workers else None
        if self._most is None:
            return _NONE
        return Ceiling(
            self._most,
            f"overload: {self._seen} such failure{'s' * (self._seen > 1)}, {self._most} workers at the most",
        )


@dataclass(frozen=True)
class OverloadErrors:
    """Which failures mean overload."""

    names: frozenset[str] = frozenset()  # of exceptions
    codes: frozenset[int] = frozenset()  # of commands

    def __call__(self, failed: Failed) -> bool:
        report = failed.value
        if failed.error.startswith("timeout after "):  # of a call, and of a command
            return "TimeoutError" in self.names
        if isinstance(report, CommandReport):
            return report.code in self.codes
        return failed.error.partition(": ")[0] in self.names

    @classmethod
    def parse(cls, text: str) -> OverloadErrors:
        """Names of exceptions and exit codes, `TimeoutError,ConnectionError,75`; of Python's own their subclasses too.

        A command, or a call, that ran into its time limit is a TimeoutError.

        Raises:
            ValueError: one is neither.
        """
        names: set[str] = set()
        codes: set[int] = set()
        for part in (part.strip() for part in text.split(",")):
            if part.isidentifier():
                names |= _with_subclasses(part)
            elif part.isascii() and part.replace("-", "").isdigit():
                codes |= parse_codes(part)
            else:
                raise ValueError(
                    f"{text!r}: it must be names of exceptions and exit codes, such as TimeoutError,ConnectionError,75"
                )
        return cls(frozenset(names), frozenset(codes))


def _with_subclasses(name: str) -> set[str]:
    found = getattr(builtins, name, None)
    if not (isinstance(found, type) and issubclass(found, BaseException)):
        return {name}
    built_in = {each for each in vars(builtins).values() if isinstance(each, type)}
    return {each.__name__ for each in built_in if issubclass(each, found)}
