"""Whether the orchestrator may nap between two steps."""

from __future__ import annotations

import pytest
from dynamic_pipeline.napping import reserve_outlasts_nap


@pytest.mark.parametrize(
    ("reserve", "ended", "elapsed_s", "may"),
    [
        (0, 0, 1.0, False),  # nothing in reserve: what ends must be followed at once
        (-3, 0, 1.0, False),  # not even as many as may run
        (4, 1, 0.001, True),  # a call per millisecond
        (4, 16, 0.0001, False),  # they would be gone before the nap is over
        (4, 0, 0.0001, True),
    ],
)
def test_the_reserve_must_outlast_the_nap(reserve: int, ended: int, elapsed_s: float, may: bool) -> None:
    """Several ends then cost one wake-up, and no worker waits for it."""
    assert reserve_outlasts_nap(reserve, ended, elapsed_s) is may
