"""The policy that measures the backlog in seconds of work."""

from __future__ import annotations

from typing import Any

import pytest
from dynamic_pipeline.scaling import Load
from dynamic_pipeline.target_scaling import TargetScaling
from hypothesis import given
from hypothesis import strategies as st

COUNTS = st.integers(0, 300)
SECONDS = st.floats(0, 1e4)


def load(
    backlog: int, limit: int, now_s: float = 1.0, *, busy_s: float = 0.0, ended: int = 0, **others: Any
) -> Load:
    running = min(backlog, limit)
    return Load(backlog - running, running, 0, limit, now_s=now_s, busy_s=busy_s, ended=ended, **others)


@pytest.mark.parametrize(
    ("backlog", "limit", "others", "workers"),
    [
        (80, 2, {}, 8),  # 80 x (2 + 1) / 1 s in 10 s are 24
        (8, 4, {"busy_s": 20.0, "ended": 10}, 4),  # 1.6, but four work and four wait: no fewer than work
        (4, 4, {"busy_s": 20.0, "ended": 10}, 3),  # 0.8, and nothing waits: one less at a time
        (31, 6, {"busy_s": 20.0, "ended": 10}, 6),  # 6.2 is within a tenth of 6
        (34, 6, {"busy_s": 20.0, "ended": 10}, 7),
        (0, 2, {}, 2),
    ],
)
def test_as_many_workers_as_clear_the_backlog_within_the_goal(
    backlog: int, limit: int, others: dict[str, Any], workers: int
) -> None:
    """Numbers by hand."""
    if not others:
        others = {"busy_s": 2.0}

    assert workers == TargetScaling(2, 8).decide(load(backlog, limit, **others)).limit


def test_jobs_per_worker_in_place_of_the_goal() -> None:
    """How long they take does not matter then."""
    decision = TargetScaling(1, 8, backlog_per_worker=10).decide(load(41, 1, busy_s=1e6))

    assert (5, "backlog 41 at 10 per worker") == decision[:2]


def test_a_full_queue_hides_how_much_there_is() -> None:
    """The producer waits: all workers."""
    decision = TargetScaling(1, 8, backlog_per_worker=1000).decide(load(12, 2, capacity=10))

    assert (8, "the queue is full") == decision[:2]


def test_it_shrinks_to_the_most_that_was_needed_lately() -> None:
    """A gap between two bursts costs no worker; a longer one takes one at each look."""
    policy = TargetScaling(1, 8, backlog_per_worker=1, down_stabilization_s=3.0)
    assert 8 == policy.decide(load(8, 2, 1.0)).limit

    assert [8, 8, 8, 7, 6] == [
        policy.decide(load(0, limit, now_s)).limit
        for limit, now_s in ((8, 2.0), (8, 3.0), (8, 4.0), (8, 5.0), (7, 6.0))
    ]


def test_it_grows_to_the_least_that_was_needed_lately() -> None:
    """A single high look does nothing; and so many at once at the most."""
    policy = TargetScaling(1, 8, backlog_per_worker=1, up_stabilization_s=1.0, max_step_up=2)

    assert [1, 1, 3] == [
        policy.decide(load(backlog, 1, now_s)).limit for backlog, now_s in ((0, 1.0), (8, 2.0), (8, 3.0))
    ]


def test_what_is_older_than_the_window_does_not_count() -> None:
    """Long jobs in the beginning, short ones now."""
    policy = TargetScaling(1, 100, 10.0, service_time_window_s=10.0)
    policy.decide(load(80, 2, 1.0, busy_s=500.0, ended=5))
    decision = policy.decide(load(80, 2, 11.0, busy_s=550.0, ended=105))

    assert (4, "backlog 80 of 0.5s in 10s") == decision[:2]


@pytest.mark.parametrize("wrong", [{"busy_s": float("nan")}, {"ended": -1}, {"now_s": float("inf")}])
def test_a_signal_that_makes_no_sense_changes_nothing(wrong: dict[str, Any]) -> None:
    """Missing data is never a reason to shrink. Nor is a clock that goes backwards."""
    policy = TargetScaling(1, 8)

    assert (5, "stale signal") == policy.decide(load(0, 5)._replace(**wrong))[:2]
    policy.decide(load(0, 5, 9.0))
    assert (5, "stale signal") == policy.decide(load(0, 5, 8.0))[:2]


@given(
    st.lists(st.tuples(COUNTS, SECONDS, COUNTS), min_size=1, max_size=20),
    st.integers(1, 5),
    st.integers(0, 20),
)
def test_it_stays_in_its_bounds(looks: list[tuple[int, float, int]], least: int, span: int) -> None:
    """Whatever the load does."""
    policy = TargetScaling(least, least + span)
    limit, busy_s, ended = policy.start(), 0.0, 0
    for tick, (backlog, more_s, more) in enumerate(looks):
        busy_s, ended = busy_s + more_s, ended + more
        limit = policy.decide(load(backlog, limit, float(tick), busy_s=busy_s, ended=ended)).limit
        assert least <= limit <= least + span


@given(st.integers(0, 200), st.integers(0, 200), SECONDS, SECONDS, st.integers(1, 9), st.integers(0, 50))
def test_more_work_never_means_fewer_workers(
    one: int, other: int, busy_s: float, more_s: float, limit: int, ended: int
) -> None:
    """Neither a longer backlog nor longer jobs."""
    few, many = sorted((one, other))
    decisions = [
        TargetScaling(1, 9).decide(load(backlog, limit, busy_s=seconds, ended=ended)).limit
        for backlog, seconds in ((few, busy_s), (many, busy_s), (many, busy_s + more_s))
    ]

    assert decisions == sorted(decisions)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"min_workers": 9}, "min_workers is 9 and max_workers is 8"),
        ({"drain_goal_s": 0.0}, "drain_goal_s is 0.0; it must be longer than 0 seconds"),
        ({"service_time_window_s": float("nan")}, "service_time_window_s is nan"),
        ({"tolerance": -0.1}, "tolerance is -0.1; it must be at least 0"),
        ({"max_step_down": 0}, "max_step_down is 0; it must be at least 1"),
    ],
)
def test_values_that_cannot_be_are_refused(wrong: dict[str, Any], text: str) -> None:
    """The error names the value and the rule."""
    with pytest.raises(ValueError, match=text):
        TargetScaling(**{"min_workers": 2, "max_workers": 8, **wrong})
