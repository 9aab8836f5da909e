"""Whether a failed attempt is tried again."""

import pytest
from dynamic_pipeline.attempts import Attempt, Failed
from dynamic_pipeline.jobs import Job
from dynamic_pipeline.retry import (
    Backoff,
    GiveUp,
    RetryAfter,
    RetryBudget,
    RetryPolicy,
    parse_codes,
    parse_names,
)

from tests import ended


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


def report(code: int, *, is_timeout: bool = False) -> Failed:
    return Failed(f"exit {code}", 0.1, "w", value=ended.report(code, is_timeout=is_timeout))


def tried(number: int, job: int = 17) -> Attempt:
    return Attempt(Job(job, None), number)


@pytest.mark.parametrize(
    ("code", "is_tried_again"), [(75, True), (100, True), (110, True), (1, False), (111, False), (-9, True)]
)
def test_only_exit_codes_that_are_named_are_tried_again(code: int, is_tried_again: bool) -> None:
    """A command that was killed by a signal has none."""
    policy = RetryPolicy(on_exit=parse_codes("75,100-110"))

    assert is_tried_again == isinstance(policy.decide(tried(1), report(code)), RetryAfter)


def test_exit_codes_may_be_final() -> None:
    """The reason names the code; what timed out has no code of its own."""
    policy = RetryPolicy(not_on_exit=parse_codes("2, 64-78"))

    assert GiveUp("exit 65 is not tried again") == policy.decide(tried(1), report(65))
    assert RetryAfter(0.0) == policy.decide(tried(1), report(1))
    assert RetryAfter(0.0) == policy.decide(tried(1), report(2, is_timeout=True))


def test_exceptions_may_be_final() -> None:
    """By their names; a command never raises one."""
    policy = RetryPolicy(fatal=parse_names("ValueError, KeyError"))

    assert GiveUp("KeyError is fatal") == policy.decide(tried(1), Failed("KeyError: 'x'", 0.1, "w"))
    assert RetryAfter(0.0) == policy.decide(tried(1), Failed("OSError: ValueError: x", 0.1, "w"))
    assert RetryAfter(0.0) == RetryPolicy().decide(tried(1), Failed("ValueError: x", 0.1, "w"))


@pytest.mark.parametrize("text", ["", "0", "256", "5-3", "a", "1,,2", "-1", "1-", "99999"])
def test_what_are_no_exit_codes_is_refused(text: str) -> None:
    """0 is no failure."""
    with pytest.raises(ValueError, match="it must be exit codes from 1 to 255"):
        parse_codes(text)


@pytest.mark.parametrize("text", ["", "a b", "ValueError,", "x.Y"])
def test_what_are_no_names_is_refused(text: str) -> None:
    """The error shows how they are written."""
    with pytest.raises(ValueError, match="such as ValueError,KeyError"):
        parse_names(text)


def test_delays_grow_up_to_the_cap() -> None:
    """Without jitter: base, then each time `factor` times as long; however many attempts there were."""
    policy = RetryPolicy(10_000, Backoff(0.5, 3, 10.0, is_jittered=False))
    delays = [policy.decide(tried(number), failed()) for number in (1, 2, 3, 4, 5000)]

    assert [RetryAfter(0.5), RetryAfter(1.5), RetryAfter(4.5), RetryAfter(10.0), RetryAfter(10.0)] == delays


def test_full_jitter_is_any_time_up_to_the_delay_and_repeats_with_its_seed() -> None:
    """Uniform: what failed together does not come back together."""
    backoff = Backoff(2.0, 2, 60.0, seed=1)
    delays = [backoff.delay_s(tried(2, job)) for job in range(1, 1001)]

    assert delays == [Backoff(2.0, 2, 60.0, seed=1).delay_s(tried(2, job)) for job in range(1, 1001)]
    assert delays != [Backoff(2.0, 2, 60.0, seed=2).delay_s(tried(2, job)) for job in range(1, 1001)]
    assert 0 <= min(delays) < 0.1
    assert 3.9 < max(delays) <= 4.0
    assert 1.9 < sum(delays) / len(delays) < 2.1


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"base_s": -1.0}, "base is -1.0"),
        ({"cap_s": float("nan")}, "cap is nan"),
        ({"factor": 0.5}, "factor is 0.5"),
    ],
)
def test_a_backoff_that_cannot_be_is_refused(wrong: dict[str, float], text: str) -> None:
    """The error names the value and the rule."""
    with pytest.raises(ValueError, match=text):
        Backoff(**wrong)  # type: ignore[arg-type]


def test_a_budget_stops_a_storm_and_fills_again() -> None:
    """Ten are free; of a hundred first attempts 20 percent may follow; a minute later the window is another one."""
    budget = RetryBudget(20)
    policy = RetryPolicy(3, budget=budget)
    granted = [isinstance(policy.decide(tried(1), failed(), 1.0, 100), RetryAfter) for _ in range(40)]

    assert 30 == sum(granted)
    assert GiveUp("the retry budget is spent") == policy.decide(tried(1), failed(), 30.0, 100)
    assert RetryAfter(0.0) == policy.decide(tried(1), failed(), 62.0, 100)
    with pytest.raises(ValueError, match="budget is -1"):
        RetryBudget(-1)
