"""Whether a failed attempt is tried again, and when: a decision as a value."""

from __future__ import annotations

import random
import re
from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

from dynamic_pipeline.attempts import Attempt, Failed
from dynamic_pipeline.reports import CommandReport

_MOST_CODE = 255
_CODES = re.compile(r"([0-9]{1,3})(?:-([0-9]{1,3}))?")


class RetryAfter(NamedTuple):
    """Try again when *delay_s* seconds have passed."""

    delay_s: float


class GiveUp(NamedTuple):
    """The job has failed for good, for this reason."""

    reason: str


@dataclass(frozen=True)
class Backoff:
    """Exponential delays: *base_s*, then *factor* times as long each time, *cap_s* at the most; all in seconds.

    With *is_jittered* any time between 0 and that ("full jitter": Brooker, Exponential Backoff And Jitter, AWS
    Architecture Blog, 2015), so that what failed together does not come back together. It depends on *seed*, job
    and attempt only.

    Raises:
        ValueError: a delay is negative, or factor is below 1.
    """

    base_s: float = 0.0
    factor: float = 2.0
    cap_s: float = 60.0
    is_jittered: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if not (self.base_s >= 0 and self.cap_s >= 0):
            raise ValueError(
                f"base is {self.base_s} and cap is {self.cap_s}; they must be at least 0 seconds"
            )
        if not self.factor >= 1:
            raise ValueError(f"factor is {self.factor}; it must be at least 1")

    def delay_s(self, attempt: Attempt) -> float:
        """Before the attempt that follows *attempt*."""
        if not self.base_s:
            return 0.0
        try:
            longest_s = min(self.base_s * self.factor ** (attempt.number - 1), self.cap_s)
        except OverflowError:
            longest_s = self.cap_s
        if not self.is_jittered:
            return longest_s
        luck = random.Random(f"{self.seed}/{attempt.job.id}/{attempt.number}")  # noqa: S311 - not a secret
        return luck.uniform(0.0, longest_s)


class RetryBudget:
    """At most *percent* retries for each 100 first attempts, within a minute; ten are always free.

    What fails all at once, such as a service that is down, is then not multiplied by its retries.

    Raises:
        ValueError: percent is negative.
    """

    WINDOW_S = 60.0
    FREE = 10  # retries: a few failures among the first jobs are no storm

    def __init__(self, percent: int) -> None:
        if percent < 0:
            raise ValueError(f"budget is {percent}; it must be at least 0 percent")
        self._percent = percent
        self._granted = 0
        # A second each, by its beginning: first attempts and retries until its end.
        self._seconds: deque[tuple[float, int, int]] = deque([(float("-inf"), 0, 0)])

    def may_retry(self, now_s: float, started: int) -> bool:
        """Take one retry from the budget; False: it is spent. *started*: first attempts so far."""
        seconds = self._seconds
        while len(seconds) > 1 and seconds[1][0] <= now_s - self.WINDOW_S:
            seconds.popleft()
        _, started_before, granted_before = seconds[0]
        most = self.FREE + self._percent * (started - started_before) / 100
        is_free = self._granted - granted_before + 1 <= most
        self._granted += is_free
        began_s = now_s if now_s - seconds[-1][0] >= 1.0 else seconds.pop()[0]
        seconds.append((began_s, started, self._granted))
        return is_free


@dataclass(frozen=True)
class RetryPolicy:
    """Up to *max_retries* resubmissions: 3 retries are 4 attempts.

    Args:
        backoff: how long each of them waits.
        on_exit: of commands only these exit codes are tried again; None: all that is no success.
        not_on_exit: and these never.
        fatal: names of exceptions that end a job at once.
        budget: how many there may be among all jobs.

    Raises:
        ValueError: max_retries is negative.
    """

    max_retries: int = 3
    backoff: Backoff = Backoff()
    on_exit: frozenset[int] | None = None
    not_on_exit: frozenset[int] = frozenset()
    fatal: frozenset[str] = frozenset()
    budget: RetryBudget | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.max_retries < 0:
            raise ValueError(f"max_retries is {self.max_retries}; it must be at least 0")

    def decide(
        self, attempt: Attempt, failed: Failed, now_s: float = 0.0, started: int = 0
    ) -> RetryAfter | GiveUp:
        """*now_s* on any monotonic clock, and *started*, the first attempts so far, matter to the budget."""
        if not failed.is_retryable:
            return GiveUp("permanent error")
        if attempt.number > self.max_retries:
            return GiveUp(f"attempt {attempt.number} of {self.max_retries + 1} failed")
        if reason := self._is_final(failed):
            return GiveUp(reason)
        if self.budget is not None and not self.budget.may_retry(now_s, started):
            return GiveUp("the retry budget is spent")
        return RetryAfter(self.backoff.delay_s(attempt))

    def _is_final(self, failed: Failed) -> str:
        report = failed.value
        if isinstance(report, CommandReport) and not report.is_timeout and report.code >= 0:
            if report.code in self.not_on_exit or (
                self.on_exit is not None and report.code not in self.on_exit
            ):
                return f"exit {report.code} is not tried again"
        elif self.fatal and (name := failed.error.partition(": ")[0]) in self.fatal:
            return f"{name} is fatal"
        return ""


def parse_codes(text: str) -> frozenset[int]:
    """Exit codes such as `75` or `1,64-78`.

    Raises:
        ValueError: none of these.
    """
    codes: set[int] = set()
    for part in text.split(","):
        found = _CODES.fullmatch(part.strip())
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if not 1 <= first <= last <= _MOST_CODE:
            raise ValueError(f"{text!r}: it must be exit codes from 1 to {_MOST_CODE}, such as 75 or 1,64-78")
        codes.update(range(first, last + 1))
    return frozenset(codes)


def parse_names(text: str) -> frozenset[str]:
    """Names of exceptions, with commas between them.

    Raises:
        ValueError: one is no name.
    """
    names = [name.strip() for name in text.split(",")]
    if not all(name.isidentifier() for name in names):
        raise ValueError(f"{text!r}: it must be names of exceptions, such as ValueError,KeyError")
    return frozenset(names)
