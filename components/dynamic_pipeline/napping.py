"""When a thread of the line naps instead of being woken by each item: what comes meanwhile costs one wake-up."""

from __future__ import annotations

# Below what a person or a file notices. Measured at 64 workers and jobs of 1 ms, with the orchestrator
# napping: a tenth more jobs per second (`nox -s bench`).
NAP_S = 0.0005


def reserve_outlasts_nap(reserve: int, ended: int, elapsed_s: float) -> bool:
    """Whether *reserve* calls are not used up in a nap, if calls go on ending as *ended* did in *elapsed_s*."""
    return reserve > 0 and ended * NAP_S < reserve * elapsed_s
