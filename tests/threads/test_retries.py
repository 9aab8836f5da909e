"""Retries on real threads: full queues, shrinking pools, and nothing lost."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from dynamic_pipeline import FixedScaling, JobFailed, JobSucceeded, run, start
from dynamic_pipeline.events import JobRetrying, LimitChanged
from dynamic_pipeline.library import Result
from dynamic_pipeline.scaling import Decision, Load

from tests.doubles import PATIENCE_S, RecordingSink


class FailsFirst:
    """Fails at the first attempt of each record."""

    def __init__(self) -> None:
        self._seen: set[int] = set()

    def __call__(self, record: int) -> int:
        if record not in self._seen:
            self._seen.add(record)
            raise ValueError(f"first attempt at {record}")
        return record


@pytest.mark.parametrize("capacity", [1, 2, 5])
def test_a_full_queue_and_failing_workers_do_not_wait_for_each_other(capacity: int) -> None:
    """Two workers, a small queue that the producer keeps full, every first attempt fails: all jobs finish.

    Here the seed deadlocks: its workers put failed jobs back into the queue that the producer has filled.
    """
    results: list[Result] = []
    summary = run(
        FailsFirst(),
        range(300),
        on_result=results.append,
        policy=FixedScaling(2),
        queue_capacity=capacity,
        max_retries=3,
    )
    assert (summary.accepted, summary.succeeded, summary.failed) == (300, 300, 0)
    assert summary.retries == 300
    assert summary.exit_code == 0
    assert sorted(result.outcome.value for result in results) == list(range(300))
    assert {result.attempt.number for result in results} == {2}


def test_a_job_that_always_fails_is_tried_four_times() -> None:
    """max_retries 3 on real threads: attempts 1, 2, 3 are retried, the fourth is reported, once."""
    sink = RecordingSink()
    results: list[Result] = []
    attempts: list[int] = []

    def fail(record: int) -> None:
        attempts.append(record)
        raise ValueError("no")

    summary = run(fail, [7], on_result=results.append, sinks=[sink], max_retries=3)
    assert attempts == [7] * 4
    assert [event.attempt.number for event in sink.events if isinstance(event, JobRetrying)] == [1, 2, 3]
    (result,) = results
    assert isinstance(result, JobFailed)
    assert result.attempt.number == 4
    assert summary.failures == (result,)
    assert (summary.failed, summary.retries, summary.exit_code) == (1, 3, 1)


class _AsTold:
    """As many workers as the test says."""

    def __init__(self, limit: int) -> None:
        self.limit = limit

    def start(self) -> int:
        return self.limit

    def decide(self, load: Load) -> Decision:
        return Decision(self.limit, "told to")


def test_a_shrink_while_a_workers_job_fails_loses_nothing() -> None:
    """A hundred times: two jobs run, the pool shrinks, then both fail, the surplus worker's as well."""
    times = 100
    policy = _AsTold(2)
    sink = RecordingSink()
    together = threading.Barrier(3)
    shrunk = threading.Barrier(3)
    failed: set[int] = set()
    go_on = threading.Semaphore(0)

    def work(record: int) -> int:
        if record not in failed:
            together.wait(PATIENCE_S)  # both workers are in a job
            shrunk.wait(PATIENCE_S)  # the pool has one worker too many
            failed.add(record)
            raise ValueError("failed as its worker was taken off")
        return record

    def records() -> Iterator[int]:
        for pair in range(times):
            yield 2 * pair
            yield 2 * pair + 1
            go_on.acquire(timeout=PATIENCE_S)

    started = start(work, records(), policy=policy, check_interval_s=0.0001, sinks=[sink])
    for number in range(times):
        together.wait(PATIENCE_S)
        policy.limit = 1
        sink.wait_for(LimitChanged, 2 * number + 1)
        shrunk.wait(PATIENCE_S)
        sink.wait_for(JobSucceeded, 2 * number + 2)
        policy.limit = 2
        sink.wait_for(LimitChanged, 2 * number + 2)
        go_on.release()
    summary = started.result()
    assert (summary.accepted, summary.succeeded, summary.retries) == (2 * times, 2 * times, 2 * times)
    assert started.load.backlog == 0
    assert summary.exit_code == 0
