"""Whether a failed attempt is tried again."""

import pytest
from dynamic_pipeline.attempts import Attempt, Failed
from dynamic_pipeline.jobs import Job
from dynamic_pipeline.retry import GiveUp, RetryAfter, RetryPolicy


def failed(*, is_retryable: bool = True) -> Failed:
    return Failed("boom", 0.1, "worker-01", is_retryable=is_retryable)


@pytest.mark.parametrize(
    ("max_retries", "number", "decision"),
    [
        (3, 1, RetryAfter(0.0)),
        (3, 3, RetryAfter(0.0)),
        (3, 4, GiveUp("attempt 4 of 4 failed")),
        (1, 1, RetryAfter(0.0)),
        (1, 2, GiveUp("attempt 2 of 2 failed")),
        (0, 1, GiveUp("attempt 1 of 1 failed")),
    ],
)
def test_n_retries_are_n_plus_one_attempts(
    max_retries: int, number: int, decision: RetryAfter | GiveUp
) -> None:
    """Three retries are four attempts; the last one gives up."""
    assert decision == RetryPolicy(max_retries).decide(Attempt(Job(17, None), number), failed())


def test_a_permanent_error_is_not_retried() -> None:
    """The first attempt is the last, however many retries are left."""
    decision = RetryPolicy(3).decide(Attempt(Job(17, None), 1), failed(is_retryable=False))

    assert GiveUp("permanent error") == decision


def test_fewer_than_no_retries_are_refused() -> None:
    """The error names the key, the value and the rule."""
    with pytest.raises(ValueError, match="max_retries is -1; it must be at least 0"):
        RetryPolicy(-1)
