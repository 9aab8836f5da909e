"""The circuit breaker: when so much goes wrong that the run should end in order. A pure rule with a memory."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from math import exp, lgamma, log


@dataclass
class Breaker:
    """Trips once, when too many attempts, or jobs, have failed within the last *window_s* seconds.

    It has no half-open state: what it asks for is a graceful drain, and the journal keeps the rest.

    Args:
        errors: so many failures trip it; 0: their number does not matter.
        window_s: the window is (now - window_s, now].
        percent: so large a share of failures trips it, once *min_attempts* have ended within the window; None: the
            share does not matter.
        counts_jobs: failures for good count, instead of failed attempts.

    Raises:
        ValueError: there is nothing that could trip it, or no window.
    """

    errors: int = 0
    window_s: float = 0.0
    percent: int | None = None
    min_attempts: int = 20
    counts_jobs: bool = False
    has_tripped: bool = False
    _seen: deque[tuple[float, int, int]] = field(default_factory=deque, repr=False)  # (when, ended, failed)
    _ended: int = 0  # within the window, as of the last look
    _failed: int = 0

    def __post_init__(self) -> None:
        if not self.window_s > 0:
            raise ValueError(f"window is {self.window_s}; it must be longer than 0 seconds")
        if self.errors < 0 or (not self.errors and self.percent is None):
            raise ValueError(f"errors is {self.errors}; it must be at least 1 where no ratio is given")
        if self.percent is not None and not 0 < self.percent <= 100:  # noqa: PLR2004 - percent
            raise ValueError(f"ratio is {self.percent}; it must be 1 to 100 percent")

    def note(self, now_s: float, ended: int, failed: int) -> str:
        """So many more have ended, and failed, by *now_s*; why it trips, or nothing. It is evaluated on failures."""
        if self.has_tripped or not ended:
            return ""
        self._seen.append((now_s, ended, failed))
        self._ended += ended
        self._failed += failed
        while self._seen[0][0] <= now_s - self.window_s:
            _, ended_then, failed_then = self._seen.popleft()
            self._ended -= ended_then
            self._failed -= failed_then
        what = "jobs" if self.counts_jobs else "attempts"
        if not failed:
            return ""
        if self.errors and self._failed >= self.errors:
            self.has_tripped = True
            return f"breaker: {self._failed} {what} failed in {self.window_s:g} s"
        if (
            self.percent is not None
            and self._ended >= self.min_attempts
            and self._failed * 100 >= self.percent * self._ended
        ):
            self.has_tripped = True
            return f"breaker: {self._failed} of {self._ended} {what} failed in {self.window_s:g} s"
        return ""


def expected_false_trip_s(errors: int, window_s: float, errors_per_s: float) -> float:
    """About how many seconds pass (median) before ordinary failures trip a breaker; infinity if they never do.

    Failures are taken for a Poisson stream of *errors_per_s*. One trips it if errors - 1 others came in the window
    before it; such moments come in clumps, of which one counts: Aldous, Probability Approximations via the Poisson
    Clumping Heuristic (1989). Against simulated streams it is right within a factor of four.
    """
    mean = errors_per_s * window_s
    if errors <= 0 or mean <= 0:
        return float("inf")
    if mean >= errors:
        return errors / errors_per_s
    log_chance = (errors - 1) * log(mean) - mean - lgamma(errors)
    per_s = errors_per_s * exp(log_chance) * (1 - mean / errors)
    return log(2) / per_s if per_s > 0 else float("inf")
