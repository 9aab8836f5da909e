"""The library as its users call it: `run` and `start` on real threads."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from dynamic_pipeline import (
    FixedScaling,
    JobFailed,
    JobSucceeded,
    PermanentError,
    Summary,
    ThresholdScaling,
    run,
    start,
)
from dynamic_pipeline.errors import OutputError
from dynamic_pipeline.events import (
    AbortStarted,
    DrainStarted,
    Event,
    JobsClosed,
    JobUnfinished,
    LimitChanged,
    RunFinished,
    RunStarted,
)
from dynamic_pipeline.library import Result
from dynamic_pipeline.retry import RetryPolicy
from dynamic_pipeline.stats import Stats
from dynamic_pipeline.stop import Stop
from dynamic_pipeline.wiring import Run

from tests.doubles import (
    PATIENCE_S,
    BlockedSource,
    Endless,
    Gate,
    RecordingSink,
    Spawned,
    wait_until,
    wait_until_waiting,
)

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def is_whole(summary: Summary) -> bool:
    """Each accepted job ended in one of the three ways."""
    return summary.accepted == summary.succeeded + summary.failed + summary.unfinished


# ── an ordinary run ─────────────────────────────────────────────────────────────────────────────────


def test_every_record_is_worked_on_once() -> None:
    """Results come with their records; the summary adds up."""
    results: list[Result] = []
    summary = run(lambda record: record * 2, range(500), on_result=results.append)
    assert sorted(result.outcome.value for result in results) == [2 * record for record in range(500)]
    assert [result.attempt.job.payload * 2 for result in results] == [
        result.outcome.value for result in results
    ]
    assert sorted(result.attempt.job.id for result in results) == list(range(1, 501))
    assert (summary.accepted, summary.succeeded, summary.failed, summary.unfinished) == (500, 500, 0, 0)
    assert (summary.exit_code, summary.error, summary.is_abandoned) == (0, None, False)


def test_no_records_is_a_good_run() -> None:
    """Nothing to do is done at once, with 0."""
    summary = run(int, [])
    assert (summary.accepted, summary.exit_code) == (0, 0)


def test_the_events_tell_the_whole_story() -> None:
    """The run's start first, its end last, the jobs between; all on one thread, and the sink is closed once."""
    sink = RecordingSink()
    run(int, range(10), sinks=[sink], policy=FixedScaling(3))
    assert sink.events[0] == RunStarted(3)
    assert sink.events[-2:] == [JobsClosed(), RunFinished(is_graceful=True)]
    assert sink.count(JobSucceeded) == 10
    assert len(sink.threads) == 1
    assert sink.closed == 1


def test_results_are_delivered_on_one_thread() -> None:
    """`on_result` needs no lock of its user's."""
    threads: set[int] = set()
    run(int, range(300), on_result=lambda _: threads.add(threading.get_ident()))
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_run_works_outside_the_main_thread() -> None:
    """Nothing in it needs the main thread."""
    summary = Spawned(lambda: run(int, range(50))).result()
    assert summary.succeeded == 50


def test_no_thread_is_left_when_run_returns() -> None:
    """Not for a moment: every thread of the run has been joined, also when the pool shrank meanwhile."""
    before = set(threading.enumerate())
    for _ in range(30):
        run(int, range(20), policy=ThresholdScaling(1, 4, 5, 1), check_interval_s=0.0005)
        assert set(threading.enumerate()) == before


def test_no_signal_handler_is_touched() -> None:
    """Unless asked: also while it runs, and the wake-up descriptor neither."""
    before = [signal.getsignal(signum) for signum in SIGNALS]
    during: list[Any] = []
    run(lambda _: during.append([signal.getsignal(signum) for signum in SIGNALS]), [1])
    assert during == [before]
    assert [signal.getsignal(signum) for signum in SIGNALS] == before
    assert signal.set_wakeup_fd(-1) == -1


def test_no_more_jobs_run_than_the_limit() -> None:
    """Two workers, forty jobs at a gate: never a third inside."""
    gate = Gate()
    started = start(gate, range(40), policy=FixedScaling(2))
    for count in range(2, 41):
        gate.wait_arrivals(count)
        gate.let_out()
    gate.open()
    assert started.result().succeeded == 40
    assert gate.most_inside == 2


def test_the_pool_grows_under_load_and_shrinks_after_it() -> None:
    """With real threads and the real supervisor: up to the maximum, and back to the minimum."""
    gate = Gate()
    sink = RecordingSink()
    last = threading.Event()

    def records() -> Iterator[int]:
        yield from range(20)
        last.wait(PATIENCE_S)

    policy = ThresholdScaling(1, 4, grow_threshold=5, shrink_threshold=2)
    started = start(gate, records(), policy=policy, check_interval_s=0.001, sinks=[sink])
    gate.wait_arrivals(4)
    gate.open()
    sink.wait_for(LimitChanged, 6)
    last.set()
    assert started.result().succeeded == 20
    changes = [(event.old, event.new) for event in sink.events if isinstance(event, LimitChanged)]
    assert changes == [(1, 2), (2, 3), (3, 4), (4, 3), (3, 2), (2, 1)]
    assert gate.most_inside == 4


def test_the_load_can_be_read_while_it_runs() -> None:
    """From any thread: what waits, what runs, and the limit."""
    gate = Gate()
    started = start(gate, range(3), policy=FixedScaling(2))
    gate.wait_arrivals(2)
    wait_until(lambda: started.load.backlog == 3)
    assert started.load.limit == 2
    assert not started.wait(0)
    gate.open()
    assert started.wait(PATIENCE_S)
    assert started.load.backlog == 0
    assert started.result() == started.result()


def test_two_runs_at_once_do_not_know_of_each_other() -> None:
    """Each job of one meets a job of the other, so they do run at the same time."""
    meet = threading.Barrier(2)

    def work(record: str) -> str:
        meet.wait(PATIENCE_S)
        return record

    first = start(work, ["a"] * 50, policy=FixedScaling(1))
    second = start(work, ["b"] * 50, policy=FixedScaling(1))
    assert first.result().succeeded == second.result().succeeded == 50


def test_on_end_is_called_once_when_all_is_over() -> None:
    """On a thread of the run, when `wait` says so."""
    ends: list[bool] = []
    seen: list[bool] = []
    started = start(int, range(5), on_end=lambda: ends.append(True))
    started.result()
    wait_until(lambda: ends)
    seen.append(started.wait(0))
    assert ends == seen == [True]


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"queue_capacity": 0}, "queue_capacity is 0"),
        ({"check_interval_s": 0}, "check_interval_s is 0"),
        ({"check_interval_s": float("nan")}, "check_interval_s is nan"),
        ({"max_retries": -1}, "max_retries is -1"),
        ({"min_workers": 3, "max_workers": 2}, "min_workers is 3 and max_workers is 2"),
        ({"min_workers": 0}, "min_workers is 0"),
    ],
)
def test_a_number_out_of_range_is_refused_before_anything_starts(settings: dict[str, Any], text: str) -> None:
    """The error names the setting and its value; no thread was started, no record drawn."""
    source = Endless()
    with pytest.raises(ValueError, match=text):
        run(int, source, **settings)
    assert source.drawn == 0


def test_the_source_is_never_drawn_far_ahead() -> None:
    """At most the queue, the window and the one in the producer's hand are drawn and not finished."""
    capacity, limit = 10, 2
    most = capacity + 2 * limit + 1
    gate = Gate()
    saturated = threading.Event()
    finished: list[int] = []  # append is atomic
    leads: list[int] = []

    def records() -> Iterator[int]:
        for number in range(1, 400):
            leads.append(number - len(finished))
            if number > capacity:
                saturated.set()
            yield number

    def work(record: int) -> None:
        gate(record)
        finished.append(record)

    started = start(work, records(), policy=FixedScaling(limit), queue_capacity=capacity)
    assert saturated.wait(PATIENCE_S)
    gate.let_out(50)
    gate.wait_arrivals(52)
    gate.open()
    assert started.result().succeeded == 399
    assert capacity < max(leads) <= most


# ── jobs that fail ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit, StopIteration])
def test_whatever_a_job_raises_is_that_jobs_failure(kind: type[BaseException]) -> None:
    """An exception of any class is retried, counted and told; the other jobs and the run go on."""

    def work(record: int) -> int:
        if record == 3:
            raise kind("no")
        return record

    results: list[Result] = []
    summary = run(work, range(6), on_result=results.append, max_retries=1)
    assert (summary.succeeded, summary.failed, summary.retries, summary.exit_code) == (5, 1, 1, 1)
    (failed,) = (result for result in results if isinstance(result, JobFailed))
    assert failed.outcome.error == f"{kind.__name__}: no"
    assert failed.attempt.job.payload == 3


def test_a_permanent_error_is_not_retried() -> None:
    """One attempt, whatever max_retries is."""
    attempts: list[int] = []

    def work(record: int) -> None:
        attempts.append(record)
        raise PermanentError("bad")

    summary = run(work, [1, 2], max_retries=5)
    assert sorted(attempts) == [1, 2]
    assert (summary.failed, summary.retries) == (2, 0)


# ── drain and abort ─────────────────────────────────────────────────────────────────────────────────


def test_an_endless_source_drained_from_another_thread_finishes_what_was_accepted() -> None:
    """No record is drawn after the drain; every accepted job succeeds."""
    source = Endless()
    enough = threading.Event()
    results: list[int] = []

    def on_result(result: Result) -> None:
        results.append(result.outcome.value)
        if len(results) == 100:
            enough.set()

    started = start(lambda record: record, source, on_result=on_result, queue_capacity=20)
    assert enough.wait(PATIENCE_S)
    started.drain("enough")
    summary = started.result()
    assert summary.accepted == summary.succeeded == source.drawn
    assert sorted(results) == list(range(1, source.drawn + 1))
    assert summary.unfinished == 0


def test_an_endless_source_that_says_so_is_complete_when_drained() -> None:
    """`is_endless` of a source: drained without a loss is a 0."""

    class SaysSo(Endless):
        is_endless = True

    started = start(int, SaysSo())
    started.drain()
    assert started.result().exit_code == 0


def test_drain_running_leaves_what_was_queued() -> None:
    """drain_all=False: the jobs that run end, the others are unfinished."""
    gate = Gate()
    sink = RecordingSink()
    source = Endless()
    started = start(gate, source, policy=FixedScaling(2), drain_all=False, sinks=[sink])
    gate.wait_arrivals(2)
    started.drain("enough")
    sink.wait_for(DrainStarted)
    gate.open()
    summary = started.result()
    assert is_whole(summary)
    assert summary.succeeded == len(gate.arrived)
    assert summary.unfinished == summary.accepted - len(gate.arrived)
    assert sorted(gate.arrived) == [1, 2]


def test_an_abort_starts_nothing_more() -> None:
    """Running jobs end and count; all that had not begun is unfinished."""
    gate = Gate()
    sink = RecordingSink()
    started = start(gate, range(100), policy=FixedScaling(2), abort_grace_s=PATIENCE_S, sinks=[sink])
    gate.wait_arrivals(2)
    started.abort("enough")
    sink.wait_for(AbortStarted)
    gate.open()
    summary = started.result()
    assert sorted(gate.arrived) == [0, 1]
    assert (summary.succeeded, summary.is_abandoned) == (2, False)
    assert is_whole(summary)
    assert sink.events[-1] == RunFinished(is_graceful=False)


def test_a_drain_timeout_becomes_an_abort() -> None:
    """Jobs that would take too long are given up when the time is over."""
    gate = Gate()
    sink = RecordingSink()
    started = start(
        gate, range(50), policy=FixedScaling(2), drain_timeout_s=0.01, abort_grace_s=PATIENCE_S, sinks=[sink]
    )
    gate.wait_arrivals(2)
    started.drain()
    sink.wait_for(AbortStarted)
    gate.open()
    summary = started.result()
    assert is_whole(summary)
    assert summary.succeeded == 2


def test_a_job_that_does_not_end_is_left_behind() -> None:
    """After the grace the run is over without it; its late end changes nothing."""
    gate = Gate()
    sink = RecordingSink()
    started = start(gate, range(5), policy=FixedScaling(1), abort_grace_s=0.0, sinks=[sink])
    gate.wait_arrivals(1)
    started.abort()
    summary = started.result()
    assert summary.is_abandoned
    assert (summary.succeeded, summary.unfinished) == (0, 5)
    assert is_whole(summary)
    told = list(sink.events)
    gate.open()
    wait_until(lambda: gate.inside == 0)
    assert sink.events == told
    assert gate.arrived == [0]


@pytest.mark.parametrize("count", [3, 20_000])  # all told before the stall; more than may wait to be told
def test_results_that_nobody_takes_do_not_keep_an_abort_waiting(count: int) -> None:
    """The one who takes the results has stalled; what was lost is a fault, and the counts add up."""
    gate = Gate()
    started = start(int, range(count), on_result=gate, abort_grace_s=0.0)
    gate.wait_arrivals(1)
    started.abort("enough")
    summary = started.result()
    assert (summary.is_mute, summary.exit_code) == (True, 4)
    assert isinstance(summary.error, OutputError)
    assert is_whole(summary)
    gate.open()


def test_a_stalled_reader_holds_the_source_back_and_the_drain_timeout_ends_it() -> None:
    """Memory stays flat while it stalls: what is drawn is what may wait on the way."""
    gate = Gate()
    source = Endless()
    started = start(int, source, on_result=gate, drain_timeout_s=0.01, abort_grace_s=0.0)
    gate.wait_arrivals(1)
    wait_until(lambda: len(started._events) >= 4096)
    started.drain("enough")
    assert started.result().is_mute
    assert source.drawn < 10_000
    gate.open()


def test_a_source_that_blocks_for_ever_does_not_keep_an_abort_waiting() -> None:
    """Its thread is left to itself; nothing of the run waits for it."""
    source = BlockedSource(1, 2, 3)
    started = start(int, source, abort_grace_s=0.0)
    assert source.is_blocked.wait(PATIENCE_S)
    started.abort()
    summary = started.result()
    assert is_whole(summary)
    assert summary.accepted == 3
    source.release.set()


# ── what comes out of `run` ─────────────────────────────────────────────────────────────────────────


def test_an_error_of_the_source_comes_out_when_the_accepted_jobs_are_done() -> None:
    """Nothing that was accepted is lost to it."""
    error = LookupError("gone")
    results: list[Result] = []

    def records() -> Iterator[int]:
        yield from range(30)
        raise error

    with pytest.raises(LookupError) as caught:
        run(int, records(), on_result=results.append)
    assert caught.value is error
    assert len(results) == 30


@pytest.mark.parametrize("count", [1, 3, 2000])
def test_an_error_of_on_result_comes_out(count: int) -> None:
    """Wherever in the run it is raised, at the very end as well; it is called no more."""
    error = LookupError("mine")
    calls: list[Result] = []

    def on_result(result: Result) -> None:
        calls.append(result)
        raise error

    with pytest.raises(LookupError) as caught:
        run(int, range(count), on_result=on_result)
    assert caught.value is error
    assert len(calls) == 1


class _BrokenSink(RecordingSink):
    """Raises where it is told to."""

    def __init__(self, *, emit: BaseException | None = None, close: BaseException | None = None) -> None:
        super().__init__()
        self._emit, self._close = emit, close

    def emit(self, events: Sequence[Event], stats: Stats) -> None:
        super().emit(events, stats)
        if self._emit is not None:
            raise self._emit

    def close(self) -> None:
        super().close()
        if self._close is not None:
            raise self._close


def test_a_sink_that_raises_drains_the_run_and_comes_out() -> None:
    """No more records are drawn, accepted jobs finish, the other sinks hear it all; the error comes out."""
    error = OSError("disk full")
    broken, sound = _BrokenSink(emit=error), RecordingSink()
    source = Endless()
    started = start(int, source, sinks=[broken, sound])
    summary = started.result()
    assert summary.error is error
    assert summary.exit_code == 4
    assert summary.accepted == summary.succeeded == source.drawn
    assert broken.closed == 1
    assert sound.count(DrainStarted) == 1
    assert sound.count(JobSucceeded) == summary.succeeded
    assert sound.events[-1] == RunFinished(is_graceful=True)


@pytest.mark.parametrize("error", [OSError("disk full"), SystemExit(1)])
def test_a_sink_that_raises_when_it_is_closed_is_not_ignored(error: BaseException) -> None:
    """What was lost at the very end is lost all the same; the other sinks are closed."""
    sound = RecordingSink()
    started = start(int, range(3), sinks=[_BrokenSink(close=error), sound])
    summary = started.result()
    assert summary.error is error
    assert summary.exit_code != 0
    assert sound.closed == 1


def test_a_keyboard_interrupt_of_the_caller_aborts_and_goes_on_up() -> None:
    """Ctrl+C without `handle_signals`: nothing more is started, what runs is waited for, then it comes out."""
    gate = Gate()
    sink = RecordingSink()
    main = threading.main_thread()
    assert threading.current_thread() is main

    def interrupt() -> None:
        gate.wait_arrivals(2)
        wait_until_waiting(main, "result")
        signal.pthread_kill(main.ident or 0, signal.SIGINT)
        sink.wait_for(AbortStarted)
        gate.open()

    interrupter = Spawned(interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(gate, range(100), policy=FixedScaling(2), abort_grace_s=PATIENCE_S, sinks=[sink])
    interrupter.result()
    assert sorted(gate.arrived) == [0, 1]
    assert sink.count(JobSucceeded) == 2
    assert sink.events[-1] == RunFinished(is_graceful=False)


def test_handle_signals_drains_at_the_first_signal_and_restores_the_handlers() -> None:
    """An endless run that is asked to stop finishes what it accepted; afterwards all is as it was."""
    before = [signal.getsignal(signum) for signum in SIGNALS]
    source = Endless()

    def work(record: int) -> int:
        if record == 20:
            os.kill(os.getpid(), signal.SIGTERM)
        return record

    summary = run(work, source, handle_signals=True)
    assert summary.accepted == summary.succeeded == source.drawn >= 20
    assert summary.exit_code == 128 + signal.SIGTERM
    assert [signal.getsignal(signum) for signum in SIGNALS] == before
    assert signal.set_wakeup_fd(-1) == -1


def test_handle_signals_restores_the_handlers_when_run_raises() -> None:
    """Also when it never started, and when something comes out of it."""
    before = [signal.getsignal(signum) for signum in SIGNALS]

    def records() -> Iterator[int]:
        yield 1
        raise LookupError("gone")

    with pytest.raises(LookupError):
        run(int, records(), handle_signals=True)
    with pytest.raises(ValueError, match="queue_capacity"):
        run(int, [], handle_signals=True, queue_capacity=0)
    assert [signal.getsignal(signum) for signum in SIGNALS] == before
    assert signal.set_wakeup_fd(-1) == -1


# ── a crash in each thread ──────────────────────────────────────────────────────────────────────────


class _Crashing(FixedScaling):
    """A policy that raises at its first decision."""

    def decide(self, load: Any) -> Any:
        raise ZeroDivisionError("policy")


def test_a_policy_that_raises_ends_the_run() -> None:
    """A crash of the supervisor's thread: the run aborts, says so and leaves with 70."""
    source = Endless()
    summary = start(int, source, policy=_Crashing(2), check_interval_s=0.001).result()
    assert isinstance(summary.error, ZeroDivisionError)
    assert summary.exit_code == 70


class _Untidy(BaseException):
    """An error that no `except Exception` stops."""


def test_a_source_that_raises_anything_ends_the_run() -> None:
    """A crash of the producer's thread."""

    def records() -> Iterator[int]:
        yield 1
        raise _Untidy

    summary = start(int, records()).result()
    assert isinstance(summary.error, _Untidy)
    assert summary.exit_code == 70


def test_a_retry_policy_that_breaks_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash of the orchestrator's thread, with a producer that waits for room: nothing hangs behind it."""

    def broken(*_: Any) -> Any:
        raise ZeroDivisionError("retry policy")

    monkeypatch.setattr("dynamic_pipeline.retry.RetryPolicy.decide", broken)

    def fail(_: int) -> None:
        raise ValueError("no")

    summary = start(fail, Endless(), queue_capacity=2).result()
    assert isinstance(summary.error, ZeroDivisionError)
    assert summary.exit_code == 70


def test_an_executor_that_breaks_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """`submit` raises: the jobs are not charged, the run ends with the error."""
    ran: list[int] = []
    real = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith("worker-"):
            raise RuntimeError("can't start new thread")
        real(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    summary = start(ran.append, Endless()).result()
    assert isinstance(summary.error, RuntimeError)
    assert summary.exit_code == 70
    assert summary.failed == 0
    assert ran == []


def test_a_collector_that_dies_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash of ours in the collector's thread: the orchestrator does not hang behind it."""

    def broken(*_: Any) -> Any:
        raise ZeroDivisionError("stats")

    monkeypatch.setattr("dynamic_pipeline.stats.Stats.add", broken)
    summary = start(int, Endless()).result()
    assert isinstance(summary.error, ZeroDivisionError)
    assert summary.exit_code == 70


def test_a_collector_that_dies_does_not_hold_an_abort_with_many_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The abort tells more events at once than the dead collector's queue takes: nobody waits for room in it."""
    real = Stats.add

    def broken(stats: Stats, events: list[Event], now_s: float) -> None:
        real(stats, events, now_s)
        if stats.succeeded:
            raise ZeroDivisionError("stats")

    monkeypatch.setattr("dynamic_pipeline.stats.Stats.add", broken)
    gate = Gate()
    started = start(gate, range(6000), policy=FixedScaling(2), queue_capacity=9000, abort_grace_s=PATIENCE_S)
    gate.wait_arrivals(2)
    wait_until(lambda: started.load.backlog == 6000)
    gate.let_out()
    wait_until(lambda: started.load.backlog <= 2)  # those that run
    gate.open()
    assert started.wait(PATIENCE_S)
    assert isinstance(started.result().error, ZeroDivisionError)


def test_work_whose_abort_raises_ends_the_run() -> None:
    """A crash while it aborts is still an end."""

    class Work:
        def __call__(self, attempt: Any) -> None:
            pass

        def abort(self) -> None:
            raise ZeroDivisionError("abort")

    started = Run(
        Work(),
        Endless(),
        policy=FixedScaling(2),
        retry=RetryPolicy(0),
        check_interval_s=1.0,
        queue_capacity=5,
        sinks=[],
        drain_all=True,
        drain_timeout_s=None,
        kill_grace_s=0.0,
        stop=Stop(),
        on_end=lambda: None,
    ).start()
    started.abort()
    summary = started.result()
    assert isinstance(summary.error, ZeroDivisionError)
    assert summary.exit_code == 70


def test_jobs_that_ended_unfinished_are_told() -> None:
    """Each job that an abort leaves undone has its `JobUnfinished`."""
    gate = Gate()
    sink = RecordingSink()
    started = start(gate, range(6), policy=FixedScaling(1), abort_grace_s=PATIENCE_S, sinks=[sink])
    gate.wait_arrivals(1)
    wait_until(lambda: started.load.backlog == 6)
    started.abort()
    sink.wait_for(AbortStarted)
    gate.open()
    summary = started.result()
    undone = [event.job.payload for event in sink.events if isinstance(event, JobUnfinished)]
    assert sorted(undone) == [1, 2, 3, 4, 5]
    assert summary.unfinished == 5
