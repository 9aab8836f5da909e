"""The figures of merit of a simulated run. Pure."""

from __future__ import annotations

from itertools import pairwise
from math import ceil
from typing import Any

from dynamic_pipeline.simulation.bound import CHANGE_WEIGHT, WAITING_WEIGHT, Bound
from dynamic_pipeline.simulation.virtual_run import Measured


def figures(run: Measured, least: int, bound: Bound | None, interval_s: float) -> dict[str, Any]:
    """By name, in seconds where the name says so; *least* is the number of workers at the start.

    ``cost_j`` is allowed worker-seconds + 0.25 x waiting job-seconds + 0.5 x the sum of all changes of the limit;
    ``cost_j_star`` is what *bound*, a schedule that knows the future, would cost, and ``j_over_j_star`` their ratio. Against that schedule
    are ``time_to_scale_s``, from the time at which it has the most workers until the run has as many (None: never), and
    ``overshoot``, the workers by which the run goes beyond it. All four are None without a bound.
    """
    directions = [change.new > change.old for change in run.changes]
    moved = sum(abs(change.new - change.old) for change in run.changes)
    cost = run.allowed_s + WAITING_WEIGHT * run.waiting_s + CHANGE_WEIGHT * moved
    most = max([least, *(change.new for change in run.changes)])
    return {
        "jobs_succeeded": run.succeeded,
        "jobs_failed": run.failed,
        "makespan_s": round(run.end_s, 3),
        "first_growth_s": _rounded(
            next((change.at_s for change in run.changes if change.new > change.old), None)
        ),
        "time_to_scale_s": None
        if bound is None
        else _rounded(_time_to_scale_s(run, least, bound, interval_s)),
        "most_workers": most,
        "overshoot": None if bound is None else max(0, most - max(bound.limits)),
        "scale_events": len(run.changes),
        "reversals": sum(one != other for one, other in pairwise(directions)),
        "worker_s_allowed": round(run.allowed_s, 3),
        "worker_s_busy": round(run.busy_s, 3),
        "wait_p50_s": _quantile(run.waits_s, 0.50),
        "wait_p95_s": _quantile(run.waits_s, 0.95),
        "wait_p99_s": _quantile(run.waits_s, 0.99),
        "most_backlog": run.most_backlog,
        "blocked_s": round(run.blocked_s, 3),
        "cost_j": round(cost, 3),
        "cost_j_star": None if bound is None else round(bound.cost, 3),
        "j_over_j_star": None if bound is None else round(cost / bound.cost, 3),
    }


def _time_to_scale_s(run: Measured, least: int, bound: Bound, interval_s: float) -> float | None:
    peak = max(bound.limits)
    wanted_s = bound.limits.index(peak) * interval_s
    until_s = [*(change.at_s for change in run.changes), float("inf")]
    limits = [least, *(change.new for change in run.changes)]  # each until its time
    for limit, begun_s, ended_s in zip(limits, [0.0, *until_s], until_s, strict=False):
        if limit >= peak and ended_s > wanted_s:
            return max(0.0, begun_s - wanted_s)
    return None


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def _quantile(ordered: list[float], share: float) -> float | None:
    """The smallest value that at least *share* of all do not exceed."""
    if not ordered:
        return None
    return round(ordered[ceil(share * len(ordered)) - 1], 3)
