"""What holds wherever calls are made: threads, processes and Dask pass the same tests, with the real things."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from dynamic_pipeline import FixedScaling, JobFailed, JobSucceeded, Load, Run, Summary, start
from dynamic_pipeline.events import DrainStarted, JobUnfinished, LimitChanged

from tests.dask_cluster import connected, real_cluster
from tests.doubles import PATIENCE_S, Endless, RecordingSink, wait_until
from tests.elsewhere import ERRORS, CountTries, FileGate, double, fail, odd_result, wait_until_told, who
from tests.living import children, wait_gone

Starter = Callable[..., Run]


@pytest.fixture(scope="module", autouse=True)  # before the first test looks which threads there are
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """Of a real cluster: a scheduler and eight workers of one thread each, so that none waits for another."""
    with (
        real_cluster(tmp_path_factory.mktemp("cluster"), 1, threads=8) as cluster,
        connected(cluster, 1) as one,
    ):
        yield one


@pytest.fixture(params=["threads", "processes", "dask"])
def engine(request: pytest.FixtureRequest) -> Any:
    """What `start` takes as its executor."""
    return request.getfixturevalue("client") if request.param == "dask" else request.param


@pytest.fixture
def begin(engine: Any) -> Iterator[Starter]:
    """`start` on the engine; what still runs at the end is aborted, and nothing may be left of it."""
    begun: list[Run] = []
    before = children()

    def start_one(fn: Callable[[Any], Any], records: Any, *, workers: int = 2, **settings: Any) -> Run:
        settings.setdefault("policy", FixedScaling(workers))
        settings.setdefault("abort_grace_s", 0.2)
        begun.append(start(fn, records, executor=engine, **settings))
        return begun[-1]

    yield start_one
    for run in begun:
        if not run.wait(0):
            run.abort()
        run.wait(PATIENCE_S)
    wait_gone(lambda: children() - before)


def ended(run: Run, patience_s: float = PATIENCE_S) -> Summary:
    assert run.wait(patience_s), "it did not end"
    summary = run.result()
    assert summary.accepted == summary.succeeded + summary.failed + summary.unfinished
    return summary


def values(sink: RecordingSink) -> list[Any]:
    return [event.outcome.value for event in sink.events if isinstance(event, JobSucceeded)]


def errors(sink: RecordingSink) -> dict[Any, str]:
    return {
        event.attempt.job.payload: event.outcome.error
        for event in sink.events
        if isinstance(event, JobFailed)
    }


def test_each_call_brings_its_result_once(begin: Starter) -> None:
    """Twenty records on two workers: twenty values, by two workers at the most, and no end twice."""
    sink = RecordingSink()

    summary = ended(begin(double, range(20), sinks=[sink]))

    assert sorted(values(sink)) == [2 * number for number in range(20)]
    assert (20, 0) == (summary.succeeded, summary.failed)
    ends = Counter(event.attempt.job.id for event in sink.events if isinstance(event, JobSucceeded))
    assert set(ends.values()) == {1}
    workers = {event.outcome.worker for event in sink.events if isinstance(event, JobSucceeded)}
    assert len(workers) <= 2
    assert all(name.startswith("worker-") for name in workers)


@pytest.mark.timeout(
    5 * PATIENCE_S
)  # a cluster takes half a minute for them, on a machine that has nothing else to do
def test_ten_thousand_jobs(begin: Starter) -> None:
    """All of them, with eight workers, and their sum is right."""
    total, seen = 0, 0

    def add(result: Any) -> None:
        nonlocal total, seen
        total += result.outcome.value
        seen += 1

    summary = ended(begin(double, range(10_000), workers=8, on_result=add), 4 * PATIENCE_S)

    assert (10_000, 10_000, 99_990_000) == (summary.succeeded, seen, total)


def test_a_failure_is_tried_again_and_counted(begin: Starter, tmp_path: Path) -> None:
    """The third try goes well; a job that never does has max_retries + 1 of them."""
    well, never = CountTries(tmp_path, 3), CountTries(tmp_path, 100)

    first = ended(begin(well, ["a", "b"], max_retries=3))
    second = ended(begin(never, ["c"], max_retries=2))

    assert (2, 0, 4) == (first.succeeded, first.failed, first.retries)
    assert [["1", "2", "3"]] * 2 == [well.tries("a"), well.tries("b")]
    assert (0, 1) == (second.succeeded, second.failed)
    assert ["1", "2", "3"] == never.tries("c")


def test_whatever_a_call_raises_is_its_own_failure(begin: Starter) -> None:
    """Exceptions of every kind, those too that cannot be sent, told in the same words; the others go on."""
    sink = RecordingSink()

    summary = ended(begin(fail, list(ERRORS), sinks=[sink], max_retries=1))

    assert errors(sink) == ERRORS
    assert (len(ERRORS), len(ERRORS) - 1) == (
        summary.failed,
        summary.retries,
    )  # a PermanentError is not retried


def test_a_result_that_cannot_be_sent_fails_alone(begin: Starter, engine: Any) -> None:
    """Where results are sent at all; and it is not tried again, since it would be the same."""
    sink = RecordingSink()
    odd = ["lock", "function", "poison"]

    summary = ended(begin(odd_result, ["a", *odd, "large", "b"], sinks=[sink], max_retries=3))

    told = errors(sink)
    assert set(told) == (set() if engine == "threads" else set(odd))
    assert all("the result cannot be" in text for text in told.values())
    assert summary.retries == 0
    ordinary = [value for value in values(sink) if isinstance(value, str | bytes)]
    assert sorted(map(len, ordinary)) == [1, 1, 8 << 20]


def test_no_more_calls_run_than_the_limit_and_it_can_be_changed(begin: Starter, tmp_path: Path) -> None:
    """Two of six at first, four when the limit is four, and after a shrink to one each waits for the one before."""
    limit = 2

    def policy(_: Load) -> int:
        return limit

    sink = RecordingSink()
    with FileGate(tmp_path) as gate:
        run = begin(gate, range(12), policy=policy, check_interval_s=0.01, sinks=[sink])
        gate.wait_arrivals(2)
        assert 2 == len(gate.arrived)
        limit = 4
        gate.wait_arrivals(4)
        assert 4 == len(gate.arrived)
        limit = 1
        sink.wait_for(LimitChanged, 2)
        gate.let_out(3)
        gate.wait_left(3)
        assert 4 == len(gate.arrived)
        gate.let_out()
        gate.wait_arrivals(5)
        gate.let_out()
        gate.wait_arrivals(6)
        assert 5 == len(gate.left)
        gate.let_out(100)
        assert 12 == ended(run).succeeded


def test_a_drain_finishes_what_was_accepted(begin: Starter, tmp_path: Path) -> None:
    """Of an endless source: no more records are drawn, and every accepted one is done."""
    source = Endless()
    with FileGate(tmp_path) as gate:
        run = begin(gate, source, queue_capacity=5)
        gate.wait_arrivals(2)
        run.drain()
        gate.let_out(1000)
        summary = ended(run)

    assert summary.succeeded == summary.accepted == source.drawn
    assert (0, 0) == (summary.failed, summary.unfinished)


def test_a_drain_of_what_runs_cancels_what_waits(begin: Starter, tmp_path: Path) -> None:
    """The two that run are finished; those that wait, in the queue or behind a worker, never begin."""
    sink = RecordingSink()
    with FileGate(tmp_path) as gate:
        run = begin(gate, range(9), drain_all=False, sinks=[sink])
        gate.wait_arrivals(2)
        run.drain()
        sink.wait_for(DrainStarted)
        gate.let_out(1000)
        summary = ended(run)

        assert (2, 7) == (summary.succeeded, summary.unfinished)
        assert 2 == len(gate.arrived)


def test_a_forced_stop_tells_the_calls_and_charges_none(begin: Starter, tmp_path: Path) -> None:
    """`should_stop` becomes true where they run; they are unfinished and not failed, and nothing more begins."""
    sink = RecordingSink()
    paths = [str(tmp_path / f"{number}") for number in range(5)]
    run = begin(wait_until_told, paths, sinks=[sink], abort_grace_s=PATIENCE_S)
    begun = FileCount(tmp_path, "began")
    begun.wait_for(2)

    run.abort()

    summary = ended(run)
    FileCount(tmp_path, "told").wait_for(2)
    assert summary.failed == 0
    assert summary.succeeded + summary.unfinished == 5
    assert 2 == len(list(tmp_path.iterdir()))
    assert sum(isinstance(event, JobUnfinished) for event in sink.events) == summary.unfinished


def test_a_call_knows_its_job(begin: Starter, tmp_path: Path) -> None:
    """`current_job` there has the attempt's number; the first is 1."""
    tries = CountTries(tmp_path, 1)

    ended(begin(tries, ["only"]))

    assert ["1"] == tries.tries("only")


def test_nothing_is_left_behind(begin: Starter) -> None:
    """When the result is there no thread of the run is alive, and (see `begin`) no process."""
    before = set(threading.enumerate())

    ended(begin(who, range(10), workers=4))

    left = {thread.name for thread in set(threading.enumerate()) - before}
    assert not {name for name in left if name.startswith(("worker", "producer", "orchestrator", "collector"))}


class FileCount:
    """How many files in *folder* hold *word*."""

    def __init__(self, folder: Path, word: str) -> None:
        self._folder, self._word = folder, word

    def wait_for(self, count: int) -> None:
        wait_until(lambda: sum(self._word in path.read_text() for path in self._folder.iterdir()) >= count)
