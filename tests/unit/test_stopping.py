"""A run that ends before its records do: halted, paused, or left by a call that takes too long."""

from __future__ import annotations

from collections import Counter

import pytest
from dynamic_pipeline import events as ev
from dynamic_pipeline import inbox as msg
from dynamic_pipeline.attempts import Failed
from dynamic_pipeline.breaker import Breaker
from dynamic_pipeline.errors import OutputError
from dynamic_pipeline.in_hand import MOST_OVERDUE
from dynamic_pipeline.retry import RetryPolicy
from dynamic_pipeline.scaling import Decision

from tests.doubles import Bench, ScriptedWork, SlowRetry, job_of, kinds

LATE = Failed("timeout after 5 s", 5.0, "worker-01", is_retryable=False)


def resize(bench: Bench, limit: int) -> msg.Resize:
    return msg.Resize(Decision(limit, "asked to"), bench.orchestrator.load())


def aborts(bench: Bench) -> int:
    assert isinstance(bench.work, ScriptedWork)
    return bench.work.aborts


def failing(bench: Bench, times: int) -> None:
    for _ in range(times):
        bench.finish(ValueError("no"))


def test_halt_soon_starts_nothing_more_and_lets_what_runs_end() -> None:
    """Not even a retry: the third job that fails for good is the end; the two that run succeed."""
    bench = Bench(limit=3, retry=RetryPolicy(0), halt="soon,fail=3")
    bench.accept(20)
    bench.step()
    failing(bench, 2)
    assert bench.count(ev.DrainStarted) == 0
    running = len(bench.executor.submitted)
    failing(bench, 1)
    (drain,) = (event for event in bench.told if isinstance(event, ev.DrainStarted))
    assert (drain.reason, drain.signal) == ("--halt soon,fail=3: 3 failed", None)
    assert bench.stop.is_set
    bench.step(msg.SourceEnded(is_complete=False))
    while not bench.is_done:
        bench.finish("ok")
    assert len(bench.executor.submitted) == running
    assert (bench.count(ev.JobFailed), bench.count(ev.AbortStarted)) == (3, 0)
    assert bench.ends() == Counter(range(1, 21))
    assert aborts(bench) == 0


def test_with_a_halt_nothing_waits_inside_the_executor() -> None:
    """A worker that fails would take it before anybody hears of the failure."""
    bench = Bench(limit=3, halt="soon,fail=1")
    bench.accept(20)
    bench.step()
    assert (len(bench.executor.running), len(bench.executor.waiting)) == (3, 0)
    bench.step(resize(bench, 5))
    assert (len(bench.executor.running), len(bench.executor.waiting)) == (5, 0)


def test_halt_now_ends_what_runs_as_well() -> None:
    """The same, and the work is told to end."""
    bench = Bench(limit=3, retry=RetryPolicy(0), halt="now,fail=1")
    bench.accept(9)
    bench.step()
    failing(bench, 1)
    assert (bench.count(ev.AbortStarted), aborts(bench)) == (1, 1)
    assert bench.orchestrator.shutdown.signal is None


def test_an_attempt_that_fails_is_no_failed_job() -> None:
    """Only a job that has used up its retries counts."""
    bench = Bench(limit=1, retry=RetryPolicy(2), halt="soon,fail=1")
    bench.accept()
    bench.step()
    failing(bench, 2)
    assert bench.count(ev.DrainStarted) == 0
    failing(bench, 1)
    assert bench.count(ev.DrainStarted) == 1


def test_a_share_is_of_the_total_once_the_source_has_ended() -> None:
    """Two of eight are a quarter; before the end of the source, two of two are too few to tell."""
    bench = Bench(limit=1, retry=RetryPolicy(0), halt="soon,fail=25%")
    bench.accept(8)
    bench.step()
    failing(bench, 1)
    bench.end_source()
    bench.step()
    assert bench.count(ev.DrainStarted) == 0
    failing(bench, 1)
    assert bench.count(ev.DrainStarted) == 1


def test_a_halt_ends_a_drain_that_would_finish_everything() -> None:
    """A signal had begun the drain; the jobs that wait are unfinished all the same."""
    bench = Bench(limit=1, retry=RetryPolicy(0), halt="soon,fail=1")
    bench.accept(9)
    bench.step()
    bench.step(msg.Drain("signal received", 2), msg.SourceEnded(is_complete=False))
    failing(bench, 1)
    assert bench.is_done
    assert (bench.count(ev.JobUnfinished), bench.count(ev.DrainStarted)) == (8, 1)


def test_waiting_retries_are_given_up_at_a_halt() -> None:
    """They would be started later; soon means never."""
    bench = Bench(limit=2, retry=SlowRetry(1, delay_s=60), halt="soon,fail=1")
    bench.accept(2)
    bench.step()
    failing(bench, 1)
    call = bench.executor.running[0]
    bench.script[call.attempt.job.id, 1] = ValueError("once")
    bench.clock.advance(60)
    bench.step()
    bench.finish(ValueError("again"), call=next(c for c in bench.executor.running if c.attempt.number == 2))
    bench.end_source()
    bench.finish(ValueError("no"))
    assert bench.is_done
    assert (bench.count(ev.JobFailed), bench.count(ev.JobUnfinished)) == (1, 1)


def test_an_overdue_call_costs_its_job_and_no_worker() -> None:
    """The job has failed and is not tried again, a spare worker takes over, the late result is not heard."""
    bench = Bench(limit=1)
    bench.accept(2)
    bench.step()
    stuck = bench.executor.running[0]
    (event,) = bench.step(msg.TimedOut(stuck.attempt, LATE))
    assert event == ev.JobFailed(stuck.attempt, LATE)
    assert bench.executor.limit == 2
    assert [call.attempt.job.id for call in bench.executor.running] == [1, 2]
    assert bench.orchestrator.is_abandoned
    assert bench.finish("late", call=stuck) == []
    assert bench.executor.limit == 1
    assert not bench.orchestrator.is_abandoned
    bench.end_source()
    bench.finish("ok")
    assert bench.is_done
    assert bench.ends() == Counter([1, 2])


def test_a_run_does_not_wait_for_an_overdue_call() -> None:
    """All jobs have ended; that a call is still stuck is told."""
    bench = Bench(limit=1)
    bench.accept()
    bench.step()
    bench.step(msg.TimedOut(bench.executor.running[0].attempt, LATE), msg.SourceEnded(is_complete=True))
    assert bench.is_done
    assert bench.orchestrator.is_abandoned


def test_a_call_that_ended_just_before_is_not_overdue() -> None:
    """The result came first; the job has one end."""
    bench = Bench(limit=1)
    bench.accept()
    bench.step()
    attempt = bench.executor.running[0].attempt
    bench.finish("ok")
    assert bench.step(msg.TimedOut(attempt, LATE)) == []
    assert bench.executor.resizes == []
    assert bench.ends() == Counter([1])


def test_a_limit_of_none_pauses_and_the_next_one_goes_on() -> None:
    """What runs ends; neither what waits in the executor nor in the queue begins."""
    bench = Bench(limit=2)
    bench.accept(9)
    bench.step()
    bench.step(resize(bench, 0))
    while bench.executor.running:
        bench.finish("ok")
    assert bench.count(ev.JobSucceeded) == 2
    bench.step(resize(bench, 3))
    assert len(bench.executor.running) == 3


@pytest.mark.parametrize("again", [True, False])
def test_a_paused_run_goes_on_to_drain(again: bool) -> None:
    """Accepted jobs finish, so somebody has to work; the supervisor may still say none."""
    bench = Bench(limit=2)
    bench.accept(5)
    bench.step()
    bench.step(resize(bench, 0))
    bench.step(msg.Drain("signal received", 15), msg.SourceEnded(is_complete=False))
    if again:
        bench.step(resize(bench, 0))
    while not bench.is_done:
        bench.finish("ok")
    assert bench.orchestrator.limit == 1
    assert bench.count(ev.JobSucceeded) == 5


def test_progress_is_told_every_ten_seconds_until_a_drain() -> None:
    """How much is left, how much waits for its retry, and the job that has run longest."""
    bench = Bench(limit=1, retry=SlowRetry(3, delay_s=60))
    bench.orchestrator.shutdown.begin(bench.clock())
    bench.accept(4)
    bench.step()
    bench.finish(ValueError("once"))
    bench.clock.advance(9.9)
    assert bench.step() == []
    bench.clock.advance(0.1)
    (told,) = bench.step()
    assert isinstance(told, ev.Progress)
    assert (told.backlog, told.retrying, told.limit) == (4, 1, 1)
    assert told.oldest == job_of(ev.JobUnfinished(bench.executor.running[0].attempt.job))
    bench.clock.advance(10)
    assert kinds(bench.step()) == ["Progress"]
    bench.step(msg.Drain("asked to"))
    bench.clock.advance(0.5)
    assert kinds(bench.step()) == ["Draining"]


def test_output_that_cannot_be_written_starts_nothing_more() -> None:
    """What would run would run for nothing; an error of the user's own lets accepted jobs finish."""
    for error, unfinished in ((OutputError("disk full", reader_gone=False), 8), (ValueError("mine"), 0)):
        bench = Bench(limit=1)
        bench.accept(9)
        bench.step()
        bench.step(msg.SinkFailed(error), msg.SourceEnded(is_complete=False))
        while not bench.is_done:
            bench.finish("ok")
        assert bench.count(ev.JobUnfinished) == unfinished


def test_calls_that_hang_without_end_stop_the_run() -> None:
    """Each holds a thread for good, and the system has only so many."""
    bench = Bench(limit=1)
    bench.accept(MOST_OVERDUE + 5)
    for _ in range(MOST_OVERDUE):
        bench.step()
        attempt = bench.executor.running[-1].attempt
        bench.step(msg.TimedOut(attempt, LATE))
    (drain,) = (event for event in bench.told if isinstance(event, ev.DrainStarted))
    assert drain.reason == f"{MOST_OVERDUE} calls hang and cannot be ended"


def test_beside_a_time_limit_nothing_waits_inside_the_executor() -> None:
    """The worker that comes back from an overdue call would take it, and one too many would run."""
    bench = Bench(limit=2, looks_ahead=False)
    bench.accept(9)
    bench.step()
    assert (len(bench.executor.running), len(bench.executor.waiting)) == (2, 0)


# ── the breaker, and delays ─────────────────────────────────────────────────────────────────────────


def test_the_breaker_drains_once_and_leaves_the_limit_alone() -> None:
    """Accepted jobs are finished; no more are drawn."""
    bench = Bench(limit=2, retry=RetryPolicy(0), breaker=Breaker(2, 60.0))
    bench.accept(4)
    bench.step()
    bench.finish(ValueError("down"))
    assert not bench.stop.is_set
    bench.finish(ValueError("down"))
    bench.finish(ValueError("down"))
    bench.end_source()
    bench.finish()

    assert bench.stop.is_set
    assert bench.is_done
    assert ["breaker: 2 attempts failed in 60 s"] == [
        event.reason for event in bench.told if isinstance(event, ev.DrainStarted)
    ]
    assert (bench.count(ev.LimitChanged), bench.count(ev.JobSucceeded), bench.count(ev.JobFailed)) == (
        0,
        1,
        3,
    )


@pytest.mark.parametrize(("counts_jobs", "drains"), [(False, 1), (True, 0)])
def test_the_breaker_counts_attempts_or_jobs(counts_jobs: bool, drains: int) -> None:
    """Two attempts at one job have failed, and no job for good; what was cut short counts as neither."""
    bench = Bench(limit=1, retry=RetryPolicy(2), breaker=Breaker(2, 60.0, counts_jobs=counts_jobs))
    bench.accept()
    bench.step()
    failing(bench, 2)

    assert drains == bench.count(ev.DrainStarted)


def test_a_delayed_retry_holds_no_worker_and_is_told() -> None:
    """The next job runs meanwhile."""
    bench = Bench(limit=1, looks_ahead=False, retry=SlowRetry(delay_s=30))
    bench.accept(2)
    bench.step()
    bench.finish(ValueError("again"))

    assert [1, 2] == [call.attempt.job.id for call in bench.executor.submitted]
    assert [30] == [event.delay_s for event in bench.told if isinstance(event, ev.JobRetrying)]
    assert (1, 1) == (bench.orchestrator.load().delayed, bench.orchestrator.load().runnable)
    bench.clock.advance(30)
    bench.finish()
    assert [1, 2, 1] == [call.attempt.job.id for call in bench.executor.submitted]


def test_a_drain_waits_for_no_delay() -> None:
    """What is delayed is tried at once, and so is what fails from then on."""
    bench = Bench(limit=1, retry=SlowRetry(2, delay_s=30))
    bench.accept()
    bench.end_source()
    bench.step()
    bench.finish(ValueError("again"))
    assert 1 == len(bench.executor.submitted)
    bench.step(msg.Drain("asked to"))
    assert 2 == len(bench.executor.submitted)
    bench.finish(ValueError("again"))
    bench.finish()

    assert bench.is_done
    assert [30, 0] == [event.delay_s for event in bench.told if isinstance(event, ev.JobRetrying)]
