"""What can be said of a run before it begins."""

from __future__ import annotations

import pipeline_config
import pytest
from dynamic_pipeline.cli.foresight import foresee
from dynamic_pipeline.pacing import PROFILES
from pipeline_config import Override, Settings


def settings(*texts: str) -> Settings:
    return pipeline_config.load(environ={}, overrides=[Override.from_set(text) for text in texts]).settings


@pytest.mark.parametrize("profile", [None, *PROFILES.values()])
def test_the_defaults_go_together(profile: object) -> None:
    """Nothing is said without a reason."""
    assert [] == foresee(settings(), profile)  # type: ignore[arg-type]


def test_a_drain_that_cannot_end_in_time_is_told() -> None:
    """208 jobs of 3.33 s, retries included, at eight workers."""
    (line,) = foresee(settings("shutdown.drain_timeout=30s"), PROFILES["seed"])

    assert line == (
        "warning: 208 accepted jobs take about 1m27s to drain with 8 workers at 3.3s a job;"
        " shutdown.drain_timeout is 30.0s"
    )


def test_of_real_work_the_prior_is_all_that_is_known() -> None:
    """It is what the policy target takes a job for as well; a drain of what runs is another thing."""
    short = "shutdown.drain_timeout=30s"

    assert [] == foresee(settings(short))
    (line,) = foresee(settings(short, "target.service_time_prior=2s"))
    assert line.startswith("a full queue would take about 52.0s to drain")  # no warning: nobody knows
    assert [] == foresee(settings(short, "target.service_time_prior=2s", "shutdown.drain=running"))


def test_a_breaker_that_ordinary_failures_trip_is_told() -> None:
    """The seed's load has one failure in four seconds; 40 in a minute never happen."""
    (line,) = foresee(settings("breaker.errors=5", "breaker.window=10s"), PROFILES["seed"])

    assert line.startswith(
        "warning: ordinary failures, 0.27 a second, trip a breaker of 5 errors in 10.0s after about "
    )
    assert [] == foresee(settings("breaker.errors=40", "breaker.window=1m"), PROFILES["seed"])
    assert [] == foresee(settings("breaker.errors=5", "pipeline.failure_rate=0"), PROFILES["seed"])


@pytest.mark.parametrize("factor", [0.0, 1.0])
def test_work_that_always_fails_and_takes_no_time_is_no_problem(factor: float) -> None:
    """The formulas have their edges there."""
    assert (
        foresee(settings("pipeline.failure_rate=1", "breaker.errors=5"), PROFILES["seed"].scaled(factor))
        is not None
    )
