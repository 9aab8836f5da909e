"""The scaling policies: how many workers for which load."""

import pytest
from dynamic_pipeline.scaling import Decision, FixedScaling, Load, ScalingPolicy, ThresholdScaling, as_policy
from hypothesis import given
from hypothesis import strategies as st

SEED = ThresholdScaling(2, 8)  # the seed's thresholds: 50 and 10
COUNTS = st.integers(0, 300)


def load(backlog: int, limit: int) -> Load:
    return Load(queued=backlog, in_flight=0, waiting=0, limit=limit)


@st.composite
def policies(draw: st.DrawFn) -> ThresholdScaling:
    least, span = draw(st.integers(1, 20)), draw(st.integers(0, 20))
    shrink, gap = draw(st.integers(0, 100)), draw(st.integers(1, 100))
    return ThresholdScaling(least, least + span, shrink + gap, shrink)


@pytest.mark.parametrize(
    ("backlog", "limit", "decision"),
    [
        (50, 3, Decision(4, "backlog 50 >= 50")),
        (49, 3, Decision(3, "between the thresholds")),
        (500, 7, Decision(8, "backlog 500 >= 50")),
        (500, 8, Decision(8, "at the maximum")),
        (11, 3, Decision(3, "between the thresholds")),
        (10, 3, Decision(2, "backlog 10 <= 10")),
        (0, 8, Decision(7, "backlog 0 <= 10")),
        (0, 2, Decision(2, "at the minimum")),
    ],
)
def test_threshold_moves_by_one_at_its_inclusive_bounds(backlog: int, limit: int, decision: Decision) -> None:
    """At the grow threshold one worker more, at the shrink threshold one less, never out of the bounds."""
    assert decision == SEED.decide(load(backlog, limit))


def test_the_backlog_is_all_that_is_unfinished() -> None:
    """Queued, in flight and waiting jobs count alike: 17 of each are over the threshold of 50."""
    sample = Load(queued=17, in_flight=17, waiting=17, limit=2)

    assert 51 == sample.backlog
    assert Decision(3, "backlog 51 >= 50") == SEED.decide(sample)


def test_a_retry_that_waits_for_its_time_asks_for_no_worker() -> None:
    """It belongs to the backlog, but a worker more could do nothing for it."""
    sample = Load(queued=17, in_flight=17, waiting=17, limit=2, delayed=2)

    assert (51, 49) == (sample.backlog, sample.runnable)
    assert Decision(2, "between the thresholds") == SEED.decide(sample)


@given(policies(), COUNTS, st.data())
def test_threshold_stays_in_bounds_and_moves_by_one_at_most(
    policy: ThresholdScaling, backlog: int, data: st.DataObject
) -> None:
    """From any limit within the bounds the next one is within them too, and at most one away."""
    limit = data.draw(st.integers(policy.min_workers, policy.max_workers))

    decided = policy.decide(load(backlog, limit)).limit

    assert policy.min_workers <= decided <= policy.max_workers
    assert abs(decided - limit) <= 1


@given(policies(), COUNTS, COUNTS, st.data())
def test_threshold_never_gives_more_work_fewer_workers(
    policy: ThresholdScaling, one: int, other: int, data: st.DataObject
) -> None:
    """The decision grows with the backlog, or stays."""
    limit = data.draw(st.integers(policy.min_workers, policy.max_workers))
    less, more = sorted((one, other))

    assert policy.decide(load(less, limit)).limit <= policy.decide(load(more, limit)).limit


@given(policies(), st.integers(1, 60))
def test_threshold_reaches_a_bound_and_stays(policy: ThresholdScaling, limit: int) -> None:
    """A steady overload ends at the maximum, an idle run at the minimum, wherever it began within the bounds."""
    limit = min(max(limit, policy.min_workers), policy.max_workers)
    high = low = limit
    for _ in range(policy.max_workers - policy.min_workers + 1):
        high = policy.decide(load(policy.grow_threshold, high)).limit
        low = policy.decide(load(policy.shrink_threshold, low)).limit

    assert (policy.max_workers, policy.min_workers) == (high, low)


@given(st.integers(1, 50), COUNTS, st.integers(1, 50))
def test_fixed_is_always_its_number(workers: int, backlog: int, limit: int) -> None:
    """Neither the load nor today's limit matters."""
    assert Decision(workers, "fixed") == FixedScaling(workers).decide(load(backlog, limit))


@pytest.mark.parametrize(("policy", "start"), [(SEED, 2), (FixedScaling(5), 5), (ThresholdScaling(1, 1), 1)])
def test_a_run_starts_small_unless_it_is_fixed(policy: ScalingPolicy, start: int) -> None:
    """The threshold policy starts at its minimum, the fixed one at its number."""
    assert start == policy.start()


@pytest.mark.parametrize(
    ("workers", "thresholds", "text"),
    [
        ((0, 8), (50, 10), "min_workers is 0 and max_workers is 8; there must be at least 1 worker"),
        ((4, 2), (50, 10), "min_workers is 4 and max_workers is 2; "),
        ((-1, -1), (50, 10), "min_workers is -1 and max_workers is -1; "),
        ((2, 8), (10, 10), "shrink_threshold is 10 and grow_threshold is 10; "),
        ((2, 8), (10, 50), "shrink_threshold is 50 and grow_threshold is 10; "),
        ((2, 8), (50, -1), "shrink_threshold is -1 and grow_threshold is 50; "),
    ],
)
def test_bounds_and_thresholds_that_contradict_are_refused(
    workers: tuple[int, int], thresholds: tuple[int, int], text: str
) -> None:
    """The error names both keys with their values, and the rule."""
    with pytest.raises(ValueError) as caught:
        ThresholdScaling(*workers, *thresholds)

    assert str(caught.value).startswith(text)


def test_a_fixed_pool_has_at_least_one_worker() -> None:
    """A pool of none would never end."""
    with pytest.raises(ValueError, match="there must be at least 1 worker"):
        FixedScaling(0)


def test_an_old_job_grows_the_pool_as_a_long_queue_does() -> None:
    """Three jobs of which nothing is done, seen for five seconds; and the age is gone with the job."""
    policy = ThresholdScaling(1, 8, grow_age_s=5.0)
    looks = [
        Load(queued, 1, 0, 1, now_s=now_s, started=started)
        for now_s, queued, started in (
            (1.0, 3, 1),
            (4.0, 5, 1),
            (6.0, 5, 1),
            (7.0, 4, 2),
            (8.0, 1, 5),
            (12.0, 1, 5),
            (30.0, 0, 6),
        )
    ]

    assert [
        (1, "at the minimum"),
        (1, "at the minimum"),
        (2, "oldest queued job 5s >= 5s"),
        (2, "oldest queued job 6s >= 5s"),
        (1, "at the minimum"),
        (2, "oldest queued job 8s >= 5s"),
        (1, "at the minimum"),
    ] == [policy.decide(look)[:2] for look in looks]
    assert ThresholdScaling(1, 8, grow_age_s=5.0) == ThresholdScaling(1, 8, grow_age_s=5.0)


def test_a_function_is_a_policy() -> None:
    """It is asked for the start too; the reason names it."""

    def half(load: Load) -> int:
        return load.backlog // 2

    policy = as_policy(half)

    assert 1 == policy.start()
    assert Decision(5, "half of backlog 10") == policy.decide(load(10, 2))
    assert SEED is as_policy(SEED)


@pytest.mark.parametrize("wrong", [None, 2.5, "3"])
def test_a_function_that_gives_no_number_is_refused(wrong: object) -> None:
    """The error names it, and what it gave."""
    with pytest.raises(TypeError, match=f"gives {wrong!r}; a policy gives a whole number of workers"):
        as_policy(lambda _: wrong).start()  # type: ignore[arg-type, return-value]
