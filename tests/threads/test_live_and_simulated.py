"""A run and its simulation: the same trace, and the same decisions at every look."""

from __future__ import annotations

from collections.abc import Iterator
from math import floor
from pathlib import Path
from time import monotonic, sleep
from typing import Any, NamedTuple

import pytest
from dynamic_pipeline import PermanentError, start
from dynamic_pipeline.retry import RetryPolicy
from dynamic_pipeline.scaling import Decision, Load, ScalingPolicy, ThresholdScaling
from dynamic_pipeline.simulation import traces
from dynamic_pipeline.simulation.virtual_run import VirtualRun
from dynamic_pipeline.sinks.files import CompleteFile
from dynamic_pipeline.sinks.trace import TraceSink
from dynamic_pipeline.target_scaling import TargetScaling

_RETRIES = 1


class Look(NamedTuple):
    """What was decided, and on which counts."""

    decision: Decision
    counts: tuple[int, ...]
    at_s: float


class Noting:
    """A policy that remembers what it was asked and what it said."""

    def __init__(self, policy: ScalingPolicy) -> None:
        self._policy = policy
        self.looks: list[Look] = []

    def start(self) -> int:
        return self._policy.start()

    def decide(self, load: Load) -> Decision:
        decision = self._policy.decide(load)
        counts = load.queued, load.in_flight, load.waiting, load.limit, load.started, load.ended
        self.looks.append(Look(decision, counts, load.now_s))
        return decision


def policies(name: str) -> ScalingPolicy:
    if name == "threshold":
        return ThresholdScaling(1, 4, grow_threshold=8, shrink_threshold=4)
    return TargetScaling(1, 4, backlog_per_worker=3, down_stabilization_s=1.5, max_step_down=None)


def lived(policy: Noting, file: Path) -> float:
    """A live run of 14 jobs in two bursts, two of which fail; by how many seconds a look came late.

    All work ends halfway between two looks, and the second burst comes a quarter of a second after one. The queue is never
    full: whether the producer or the orchestrator is first there is a matter of microseconds.
    """
    trace = TraceSink(CompleteFile("trace", str(file)))
    begun_s = monotonic()

    def work(number: int) -> None:
        now_s = monotonic() - begun_s
        sleep(floor(now_s + 1.0) + 0.5 - now_s)
        if number == 3:
            raise ValueError("comes back once")
        if number == 6:
            raise PermanentError("does not")

    def records() -> Iterator[int]:
        yield from range(10)
        sleep(5.25 - (monotonic() - begun_s))
        yield from range(10, 14)

    run: Any = start(work, trace.watch(records()), policy=policy, max_retries=_RETRIES, sinks=[trace])
    run.result()
    trace.finish()
    return max(abs(look.at_s - begun_s - number) for number, look in enumerate(policy.looks, 1))


@pytest.mark.parametrize("name", ["threshold", "target"])
def test_a_run_and_its_simulation_agree_decision_by_decision(name: str, tmp_path: Path) -> None:
    """What the policy saw and said at each second. Where the machine itself came late, there is nothing to compare."""
    live, file = Noting(policies(name)), tmp_path / "trace.jsonl"
    late_s = lived(live, file)
    if late_s > 0.3:
        live = Noting(policies(name))
        if (late_s := lived(live, file)) > 0.3:
            pytest.skip(f"the machine was late by {late_s:.1f} s, twice")
    simulated = Noting(policies(name))
    VirtualRun(traces.read(file), simulated, retry=RetryPolicy(_RETRIES)).run()

    assert [look[:2] for look in simulated.looks] == [look[:2] for look in live.looks]
    assert len({look.decision.limit for look in live.looks}) >= 3
