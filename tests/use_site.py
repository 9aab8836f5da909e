"""Ordinary uses of the public names, as a user's type checker sees them. Checked by mypy, never run."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor, Future
from typing import Any, assert_type

from dynamic_pipeline import (
    Decision,
    FixedScaling,
    Job,
    JobFailed,
    JobSucceeded,
    Load,
    PermanentError,
    ResizableThreadPoolExecutor,
    Run,
    Sink,
    Summary,
    ThresholdScaling,
    run,
    start,
)
from dynamic_pipeline.errors import PipelineError


def fetch(url: str) -> bytes:
    if not url:
        raise PermanentError("no address")
    return url.encode()


def show(result: JobSucceeded | JobFailed) -> None:
    assert_type(result.attempt.job, Job)
    if isinstance(result, JobSucceeded):
        print(result.outcome.value, result.outcome.elapsed_s, result.outcome.worker)
    else:
        assert_type(result.outcome.error, str)


def as_a_function(urls: list[str]) -> int:
    summary = run(fetch, urls, max_workers=16, on_result=show)
    assert_type(summary, Summary)
    for failure in summary.failures:
        assert_type(failure, JobFailed)
        print(failure.attempt.job.payload, failure.outcome.error)
    return summary.exit_code


def with_signals(urls: list[str]) -> None:
    run(fetch, urls, handle_signals=True, policy=ThresholdScaling(2, 8, grow_threshold=20))


def in_the_background(urls: list[str]) -> Summary:
    started = start(fetch, urls, policy=FixedScaling(4), drain_timeout_s=10, sinks=[Printer()])
    assert_type(started, Run)
    assert_type(started.load, Load)
    started.drain("enough")
    if not started.wait(5.0):
        started.abort()
    return started.result()


class Printer:
    """A user's sink is any object with these two methods."""

    def emit(self, events: Sequence[object], stats: object) -> None:
        print(events, stats)

    def close(self) -> None:
        pass


sink: Sink = Printer()


class NightShift:
    """A user's policy is any object with these two methods."""

    def start(self) -> int:
        return 1

    def decide(self, load: Load) -> Decision:
        return Decision(min(8, 1 + load.backlog // 100), "by the backlog")


def with_a_policy_of_their_own(urls: list[str]) -> None:
    try:
        run(fetch, urls, policy=NightShift())
    except PipelineError as error:
        print(error)


def as_an_executor(executor: ResizableThreadPoolExecutor) -> bytes:
    future = executor.submit(fetch, "https://example.org")
    assert_type(future, Future[bytes])
    executor.resize(3)
    with ResizableThreadPoolExecutor(2, thread_name_prefix="mine") as other:
        anywhere: Executor = other
        print(list(anywhere.map(fetch, ["a", "b"])))
    return future.result()


def wrong_uses(executor: ResizableThreadPoolExecutor, anything: Any) -> None:
    """Each of these is an error to mypy; where one stops being one, mypy reports the unused comment."""
    executor.resize("3")  # type: ignore[arg-type]
    start(fetch, [1, 2, 3])  # type: ignore[arg-type]
    start(fetch, ["a"], max_worker=3)  # type: ignore[call-arg]
    start(fetch, ["a"], policy=anything.nothing, sinks=[object()])  # type: ignore[list-item]
