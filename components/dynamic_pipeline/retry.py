"""Whether a failed attempt is tried again: a decision as a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from dynamic_pipeline.attempts import Attempt, Failed


class RetryAfter(NamedTuple):
    """Try again when *delay_s* seconds have passed."""

    delay_s: float


class GiveUp(NamedTuple):
    """The job has failed for good, for this reason."""

    reason: str


@dataclass(frozen=True)
class RetryPolicy:
    """Up to *max_retries* resubmissions at once: 3 retries are 4 attempts.

    Raises:
        ValueError: max_retries is negative.
    """

    max_retries: int = 3

    def __post_init__(self) -> None:
        if self.max_retries < 0:
            raise ValueError(f"max_retries is {self.max_retries}; it must be at least 0")

    def decide(self, attempt: Attempt, failed: Failed) -> RetryAfter | GiveUp:
        if not failed.is_retryable:
            return GiveUp("permanent error")
        if attempt.number > self.max_retries:
            return GiveUp(f"attempt {attempt.number} of {self.max_retries + 1} failed")
        return RetryAfter(0.0)
