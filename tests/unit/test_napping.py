"""How long the orchestrator may nap between two steps."""

from __future__ import annotations

import pytest
from dynamic_pipeline.napping import nap_s


@pytest.mark.parametrize(
    ("reserve", "ended", "elapsed_s", "nap"),
    [
        (0, 0, 1.0, 0.0),  # nothing in reserve: what ends must be followed at once
        (-3, 0, 1.0, 0.0),  # not even as many as may run
        (4, 16, 0.0001, 0.0),  # they would be gone before the shortest nap is over
        (4, 0, 0.0001, 0.0005),  # nothing is known of how fast they end
        (4, 2, 0.0003, 0.0005),  # they last 0.6 ms
        (6, 2, 0.001, 0.001),  # they last 3 ms
        (8, 1, 0.001, 0.002),  # they last 8 ms, but messages must be heard
    ],
)
def test_a_third_of_what_the_reserve_lasts_is_slept(
    reserve: int, ended: int, elapsed_s: float, nap: float
) -> None:
    """Several ends then cost one wake-up, and no worker waits for it."""
    assert pytest.approx(nap) == nap_s(reserve, ended, elapsed_s)
