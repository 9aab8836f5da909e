"""The schedule that knows the future: against a search of all schedules, and as the yardstick of the policies."""

from __future__ import annotations

from itertools import pairwise, product

import pytest
from dynamic_pipeline.retry import RetryPolicy
from dynamic_pipeline.scaling import FixedScaling, ScalingPolicy, ThresholdScaling
from dynamic_pipeline.simulation import traces
from dynamic_pipeline.simulation.bound import MOST_INTERVALS, Bound, clairvoyant
from dynamic_pipeline.simulation.figures import figures
from dynamic_pipeline.simulation.traces import Trace
from dynamic_pipeline.simulation.virtual_run import VirtualRun
from dynamic_pipeline.target_scaling import TargetScaling
from hypothesis import given, settings
from hypothesis import strategies as st


def cost_of(limits: tuple[int, ...], work: list[float], jobs: int, interval_s: float) -> float | None:
    """By the formula, an interval after the other; None if it does not come to an end."""
    mean, left, cost = sum(work) / jobs, 0.0, 0.0
    cost += sum(0.5 * abs(one - other) for one, other in pairwise(limits))
    for at, limit in enumerate(limits):
        come = work[at] if at < len(work) else 0.0
        price = interval_s * (limit + 0.25 * max(0.0, left / mean - limit))
        left += come - limit * interval_s
        if left <= 0 and at >= len(work) - 1:
            last = 1 + left / (limit * interval_s)  # of the interval
            return cost + price * last if at == len(limits) - 1 else None
        cost += price
        left = max(0.0, left)
    return None


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=3).filter(any),
    st.sampled_from([0.5, 1.0, 2.0]),
)
def test_no_schedule_is_cheaper(halves: list[int], interval_s: float) -> None:
    """All schedules of 1 to 3 workers over up to seven intervals: the best of them costs as much, and is the one."""
    arrivals = [(at * interval_s, half * interval_s / 2) for at, half in enumerate(halves) if half]
    work = [half * interval_s / 2 for half in halves[: max(at for at, half in enumerate(halves) if half) + 1]]
    costs = {
        limits: cost
        for length in range(1, 8)
        for limits in product((1, 2, 3), repeat=length)
        if (cost := cost_of(limits, work, len(arrivals), interval_s)) is not None
    }
    found = clairvoyant(arrivals, 1, 3, interval_s)

    assert found is not None
    assert pytest.approx(min(costs.values())) == found.cost == costs[tuple(found.limits)]


def test_nothing_to_do_and_too_much_have_no_bound() -> None:
    """Its time grows with what there is to do."""
    assert clairvoyant([], 1, 8, 1.0) is None
    assert clairvoyant([(0.0, 1.0)], 1, 8, 1.0) == Bound(1.0, [1])
    assert clairvoyant([(MOST_INTERVALS + 1.0, 1.0)], 1, 8, 1.0) is None
    assert clairvoyant([(0.0, 8.0 * MOST_INTERVALS + 8)], 1, 8, 1.0) is None
    assert clairvoyant([(0.0, 10.0)] * 1000, 1, 8, 1.0) is None


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
@pytest.mark.parametrize("name", ["steady", "square", "spike", "ramp"])
def test_policies_come_near_the_bound(name: str, seed: int) -> None:
    """J / J*: 3.3 for the seed's thresholds and 1.5 for `target` at the most, and none is better than the bound."""
    load = traces.named(name, seed)
    bound = clairvoyant([(job.at_s, job.work_s(3)) for job in load.jobs], 2, 8, 1.0)

    def ratio(policy: ScalingPolicy) -> float:
        run = VirtualRun(load, policy, retry=RetryPolicy(3)).run()
        return float(figures(run, policy.start(), bound, 1.0)["j_over_j_star"])

    assert 1.0 <= ratio(ThresholdScaling(2, 8)) <= 3.3
    assert 1.0 <= ratio(TargetScaling(2, 8)) <= 1.5
    assert ratio(FixedScaling(8)) >= 1.0


def test_the_seeds_cycle_is_closed_and_fills_the_queue() -> None:
    """2.4 jobs a second come out, and the producer waits for most of the time: once the queue is full, until half of it is taken."""
    load = traces.named(traces.CYCLE, 1)
    run = VirtualRun(load, ThresholdScaling(2, 8), retry=RetryPolicy(3)).run()

    assert load.is_closed
    assert 0.6 < run.blocked_s / 600 < 0.8
    assert 2.3 < (run.succeeded + run.failed) / run.end_s < 2.5
    assert [(float(at), at, at + 1) for at in range(2, 8)] == [change[:3] for change in run.changes[:6]]


def test_a_closed_trace_waits_for_room() -> None:
    """The next job comes as long after the one before was accepted as it was recorded, and its wait counts from there."""
    jobs = [traces.TraceJob(at_s, ((10.0, True),)) for at_s in (1.0, 4.0, 7.0, 10.0, 13.0)]
    load = Trace(jobs, lambda at, _: 1.0 if at == 0 else 2.0)
    run = VirtualRun(load, FixedScaling(1), retry=RetryPolicy(0), queue_capacity=1).run()

    # One runs, one waits inside the pool, one in the queue; the fourth comes at 7 and gets there at 11, the fifth at 13 and 21.
    assert [0.0, 8.0, 16.0, 24.0, 28.0] == run.waits_s
    assert (51.0, 12.0) == (run.end_s, run.blocked_s)
