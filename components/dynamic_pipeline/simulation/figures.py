"""The figures of merit of a simulated run. Pure."""

from __future__ import annotations

from itertools import pairwise
from math import ceil
from typing import Any

from dynamic_pipeline.simulation.virtual_run import Measured

# In worker-seconds: what a job that waits for a second costs, and a worker more or less.
WAITING_WEIGHT, CHANGE_WEIGHT = 0.25, 0.5


def figures(run: Measured, least: int) -> dict[str, Any]:
    """By name, in seconds where the name says so; *least* is the number of workers at the start.

    ``cost_j`` is allowed worker-seconds + 0.25 x waiting job-seconds + 0.5 x the sum of all changes of the limit.
    """
    directions = [change.new > change.old for change in run.changes]
    moved = sum(abs(change.new - change.old) for change in run.changes)
    first_growth = next((change.at_s for change in run.changes if change.new > change.old), None)
    return {
        "jobs_succeeded": run.succeeded,
        "jobs_failed": run.failed,
        "makespan_s": round(run.end_s, 3),
        "first_growth_s": None if first_growth is None else round(first_growth, 3),
        "most_workers": max([least, *(change.new for change in run.changes)]),
        "scale_events": len(run.changes),
        "reversals": sum(one != other for one, other in pairwise(directions)),
        "worker_s_allowed": round(run.allowed_s, 3),
        "worker_s_busy": round(run.busy_s, 3),
        "wait_p50_s": _quantile(run.waits_s, 0.50),
        "wait_p95_s": _quantile(run.waits_s, 0.95),
        "wait_p99_s": _quantile(run.waits_s, 0.99),
        "most_backlog": run.most_backlog,
        "blocked_s": round(run.blocked_s, 3),
        "cost_j": round(run.allowed_s + WAITING_WEIGHT * run.waiting_s + CHANGE_WEIGHT * moved, 3),
    }


def _quantile(ordered: list[float], share: float) -> float | None:
    """The smallest value that at least *share* of all do not exceed."""
    if not ordered:
        return None
    return round(ordered[ceil(share * len(ordered)) - 1], 3)
