"""Load profiles: pure rules of the elapsed time."""

import math

import pytest
from dynamic_pipeline.pacing import PROFILES, Profile
from hypothesis import given
from hypothesis import strategies as st

ELAPSED_S = st.floats(0, 1e7)
PHASES = st.lists(st.tuples(st.floats(0, 10), st.floats(1e-3, 1e4)), min_size=1, max_size=5).map(tuple)


@pytest.mark.parametrize("name", ["seed", "demo"])
@pytest.mark.parametrize(
    ("elapsed_s", "interval_s", "change_in_s"),
    [
        (0.0, 0.020, 30.0),
        (29.5, 0.020, 0.5),
        (30.0, 0.600, 30.0),
        (59.0, 0.600, 1.0),
        (60.0, 0.020, 30.0),
        (3631.0, 0.600, 29.0),
    ],
)
def test_the_seeds_load_alternates_every_thirty_seconds(
    name: str, elapsed_s: float, interval_s: float, change_in_s: float
) -> None:
    """20 ms for 30 s, then 600 ms for 30 s, again and again; both profiles share it."""
    profile = PROFILES[name]

    assert interval_s == profile.interval_s(elapsed_s)
    assert change_in_s == profile.change_in_s(elapsed_s)


@pytest.mark.parametrize(("name", "job_s"), [("seed", (1.0, 5.0)), ("demo", (0.1, 0.5))])
def test_the_profiles_differ_in_the_length_of_their_jobs(name: str, job_s: tuple[float, float]) -> None:
    """The seed's jobs take 1 to 5 s; the demo's are short enough for the pool to shrink again."""
    assert job_s == PROFILES[name].job_s


@given(PHASES, ELAPSED_S)
def test_the_interval_is_always_one_of_the_phases(
    phases: tuple[tuple[float, float], ...], elapsed_s: float
) -> None:
    """At no time is there another rate, and no phase is left later than it is long."""
    profile = Profile(phases, (0.0, 0.0))

    assert profile.interval_s(elapsed_s) in {interval for interval, _ in phases}
    assert 0 <= profile.change_in_s(elapsed_s) <= max(length for _, length in phases)


@given(st.sampled_from(sorted(PROFILES)), st.floats(1e-3, 1e3), ELAPSED_S)
def test_the_next_phase_is_always_ahead(name: str, factor: float, elapsed_s: float) -> None:
    """Whoever waits for the change of a shipped profile, at any scale, waits for some time."""
    assert PROFILES[name].scaled(factor).change_in_s(elapsed_s) > 0


@given(st.floats(1e-3, 1e3))
def test_scaling_multiplies_every_time(factor: float) -> None:
    """Intervals, phases and jobs keep their proportions."""
    scaled = PROFILES["demo"].scaled(factor)

    assert ((0.02 * factor, 30 * factor), (0.6 * factor, 30 * factor)) == scaled.phases
    assert (0.1 * factor, 0.5 * factor) == scaled.job_s


def test_a_scale_of_zero_takes_all_waiting_out() -> None:
    """No interval, no phases to wait for, no time per job."""
    scaled = PROFILES["seed"].scaled(0)

    assert (0.0, 0.0, (0.0, 0.0)) == (scaled.interval_s(5.0), scaled.change_in_s(5.0), scaled.job_s)


@pytest.mark.parametrize("factor", [-1.0, -1e-9, math.nan, math.inf])
def test_a_scale_that_is_no_factor_is_refused(factor: float) -> None:
    """Time neither runs backwards nor stands still."""
    with pytest.raises(ValueError, match=f"time scale is {factor}; it must be a number of at least 0"):
        PROFILES["seed"].scaled(factor)
