"""When too much fails within a window."""

from __future__ import annotations

import random

import pytest
from dynamic_pipeline.breaker import Breaker, expected_false_trip_s


def test_it_trips_at_the_number_within_the_window() -> None:
    """The window is (now - window, now]: what is exactly as old as it does not count any more."""
    breaker = Breaker(3, 10.0)

    assert ["", "", "", "breaker: 3 attempts failed in 10 s"] == [
        breaker.note(now_s, 1, 1) for now_s in (0.0, 1.0, 10.0, 10.5)
    ]


def test_it_trips_once() -> None:
    """What follows changes nothing: the drain has begun."""
    breaker = Breaker(1, 10.0)

    assert breaker.note(0.0, 1, 1)
    assert not breaker.note(1.0, 5, 5)
    assert breaker.has_tripped


def test_several_that_end_together_count_each() -> None:
    """The reason tells how many there were."""
    assert "breaker: 5 attempts failed in 1 s" == Breaker(3, 1.0).note(0.0, 9, 5)


def test_a_share_counts_from_some_attempts_on() -> None:
    """Successes count too; it is looked at when something fails."""
    breaker = Breaker(0, 60.0, 50, min_attempts=4, counts_jobs=True)
    said = [breaker.note(now_s, ended, failed) for now_s, ended, failed in ((0, 2, 2), (1, 2, 0), (2, 1, 1))]

    assert ["", "", "breaker: 3 of 5 jobs failed in 60 s"] == said


def test_successes_leave_the_window_as_well() -> None:
    """Two of two recent ones are a share of 100 percent, whatever went well before."""
    breaker = Breaker(0, 10.0, 100, min_attempts=2)
    breaker.note(0.0, 1000, 0)

    assert "breaker: 2 of 2 attempts failed in 10 s" == breaker.note(10.0, 2, 2)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"errors": 3}, "window is 0.0; it must be longer"),
        ({"window_s": 1.0}, "errors is 0; it must be at least 1"),
        ({"window_s": 1.0, "percent": 101}, "ratio is 101"),
    ],
)
def test_a_breaker_that_cannot_trip_is_refused(wrong: dict[str, float], text: str) -> None:
    """The error names the value and the rule."""
    with pytest.raises(ValueError, match=text):
        Breaker(**wrong)  # type: ignore[arg-type]


def simulated_trip_s(errors: int, window_s: float, per_s: float) -> float:
    """The median of 41 streams."""
    found = []
    for seed in range(41):
        luck, breaker, now_s = random.Random(seed), Breaker(errors, window_s), 0.0
        while not breaker.has_tripped:
            now_s += luck.expovariate(per_s)
            breaker.note(now_s, 1, 1)
        found.append(now_s)
    return sorted(found)[20]


@pytest.mark.parametrize(("errors", "window_s"), [(5, 10.0), (10, 10.0), (10, 30.0), (20, 60.0), (3, 30.0)])
def test_the_expected_time_to_a_false_trip_is_about_that_of_simulated_streams(
    errors: int, window_s: float
) -> None:
    """Ordinary failures of the seed's load at eight workers: one in four seconds."""
    expected = expected_false_trip_s(errors, window_s, 0.267)

    assert 1 / 4 < expected / simulated_trip_s(errors, window_s, 0.267) < 4


def test_without_failures_there_is_no_false_trip() -> None:
    """Nor where their number does not matter; what hardly ever happens is only a large number."""
    assert float("inf") == expected_false_trip_s(5, 10.0, 0.0) == expected_false_trip_s(0, 10.0, 1.0)
    assert expected_false_trip_s(40, 60.0, 0.267) > 50 * 3600
