"""The orchestrator, stepped by hand on one thread: above all what must not happen."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import Future
from concurrent.futures.thread import BrokenThreadPool
from typing import Any

import pytest
from dynamic_pipeline import events as ev
from dynamic_pipeline import inbox as msg
from dynamic_pipeline.attempts import Attempt
from dynamic_pipeline.errors import Interrupted, OutputError, PermanentError
from dynamic_pipeline.handover import Bell, Handover
from dynamic_pipeline.jobs import Job
from dynamic_pipeline.orchestrator import Orchestrator
from dynamic_pipeline.retry import RetryPolicy
from dynamic_pipeline.scaling import Decision, Load, ThresholdScaling
from dynamic_pipeline.stop import Stop
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.doubles import (
    Bench,
    InlineExecutor,
    ManualExecutor,
    ScriptedWork,
    SlowRetry,
    Spawned,
    is_end,
    job_of,
    kinds,
    wait_until,
)

SEED = ThresholdScaling(2, 8, grow_threshold=50, shrink_threshold=10)


def resize(limit: int) -> msg.Resize:
    return msg.Resize(Decision(limit, "for the test"), Load(7, 0, 0, 1))


# ── retries ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_job_that_always_fails_is_tried_four_times() -> None:
    """max_retries 3: attempts 1, 2, 3 are retried, the fourth is the end."""
    bench = Bench(retry=RetryPolicy(3))
    bench.accept()
    bench.end_source()
    bench.step()
    for _ in range(4):
        bench.finish(ValueError("no"))
    retrying = [event for event in bench.told if isinstance(event, ev.JobRetrying)]
    failed = [event for event in bench.told if isinstance(event, ev.JobFailed)]
    assert [(event.attempt.number, event.max_retries) for event in retrying] == [(1, 3), (2, 3), (3, 3)]
    assert [event.attempt.number for event in failed] == [4]
    assert failed[0].outcome.error == "ValueError: no"
    assert len(bench.executor.submitted) == 4
    assert bench.is_done


def test_a_permanent_error_is_not_retried() -> None:
    """`PermanentError` ends the job at its first attempt, whatever max_retries is."""
    bench = Bench()
    bench.accept()
    bench.step()
    assert kinds(bench.finish(PermanentError("bad"))) == ["JobFailed"]
    assert len(bench.executor.submitted) == 1


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_whatever_a_job_raises_is_that_jobs_failure(error: BaseException) -> None:
    """An exception of any class is retried like another, and goes no further than its job."""
    bench = Bench()
    bench.accept()
    bench.step()
    assert kinds(bench.finish(error)) == ["JobRetrying"]
    assert kinds(bench.finish("ok")) == ["JobSucceeded"]


def test_an_interruption_is_not_an_attempt() -> None:
    """A job that was cut short is unfinished, neither failed nor retried."""
    bench = Bench()
    bench.accept()
    bench.step()
    (event,) = bench.finish(Interrupted("cut short"))
    assert isinstance(event, ev.JobUnfinished)
    assert event.outcome is not None
    assert event.outcome.error == "cut short"


def test_a_full_queue_and_failing_workers_do_not_wait_for_each_other() -> None:
    """Queue full, producer blocked, both workers busy, every first attempt fails: all jobs finish."""
    bench = Bench(limit=2, capacity=4)
    bench.accept(4 + 4)  # the window, and a full queue
    bench.step()
    bench.accept(4)
    assert bench.backlog.is_full
    last = 40
    for _ in range(last * 3):
        if bench.executor.running:
            number = bench.executor.running[0].attempt.number
            bench.finish(ValueError("first") if number == 1 else "ok")
        while bench.accepted < last and not bench.backlog.is_full:
            bench.accept()
    bench.end_source()
    bench.step()
    assert bench.is_done
    assert bench.count(ev.JobSucceeded) == bench.count(ev.JobRetrying) == last


def test_a_due_retry_goes_before_a_new_job() -> None:
    """When a place is free, a retry that is due takes it, however many jobs are queued."""
    bench = Bench(limit=1)
    bench.accept(10)
    bench.step()
    bench.finish(ValueError("again"))
    assert [call.attempt for call in bench.executor.submitted[2:]] == [Attempt(Job(1, "record 1"), 2)]


def test_a_retry_waits_for_its_time() -> None:
    """A retry is started when its delay has passed and not before; new jobs go on meanwhile."""
    bench = Bench(limit=1, retry=SlowRetry(delay_s=5))
    bench.accept(3)
    bench.step()
    bench.finish(ValueError("again"))
    bench.clock.advance(4.9)
    bench.step()
    assert [call.attempt.job.id for call in bench.executor.submitted] == [1, 2, 3]
    bench.finish("ok")
    bench.clock.advance(0.1)
    bench.step()
    assert [call.attempt.job.id for call in bench.executor.submitted] == [1, 2, 3, 1]


def test_no_new_job_is_taken_while_queue_capacity_retries_wait() -> None:
    """The retries' room is capped, so that pressure travels back to the producer."""
    bench = Bench(limit=2, capacity=3, retry=SlowRetry(delay_s=60))
    bench.accept(3)
    bench.step()
    for _ in range(3):
        bench.finish(ValueError("again"))
    bench.accept(3)
    bench.step()
    assert bench.orchestrator.load()[:5] == (3, 0, 3, 2, 3)  # queued, in flight, waiting, limit, delayed
    bench.clock.advance(60)
    bench.step()
    assert [call.attempt.number for call in bench.executor.submitted] == [1, 1, 1, 2, 2, 2, 1]


# ── the window and the limit ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("limit", "window"), [(1, 2), (3, 6), (64, 128), (1000, 2000)])
def test_no_more_than_the_limit_and_a_little_is_handed_out(limit: int, window: int) -> None:
    """The executor holds the limit, and as many again that wait."""
    bench = Bench(limit=limit)
    bench.accept(window + 10)
    bench.step()
    assert bench.in_flight == len(bench.executor.submitted) == window
    bench.finish("ok")
    assert bench.in_flight == window


def test_a_new_limit_reaches_the_executor_and_the_log() -> None:
    """`Resize` sets the executor's limit and the window, and is told with what the policy saw."""
    bench = Bench(limit=1)
    bench.accept(20)
    bench.step()
    assert bench.step(resize(3)) == [ev.LimitChanged(1, 3, 7, "for the test")]
    assert bench.executor.resizes == [3]
    assert bench.in_flight == 6
    assert len(bench.executor.running) == 3
    assert bench.orchestrator.limit == 3


def test_the_same_limit_again_changes_nothing() -> None:
    """A decision that has been carried out already is neither told nor passed on."""
    bench = Bench(limit=2)
    assert bench.step(resize(2)) == []
    assert bench.executor.resizes == []


def test_after_a_shrink_nothing_is_handed_out_until_the_window_has_room() -> None:
    """Running calls go on; the next job is taken when less than the new window is in flight."""
    bench = Bench(limit=4)
    bench.accept(20)
    bench.step(resize(4))
    bench.step(resize(1))
    for _ in range(6):
        bench.finish("ok")
        assert len(bench.executor.submitted) == 8
    bench.finish("ok")
    assert len(bench.executor.submitted) == 9
    assert bench.in_flight == 2


def test_a_shrink_while_the_workers_job_fails_loses_nothing() -> None:
    """The shrink and the failure in one batch, in both orders: the job is retried and the backlog returns to 0."""
    for shrink_first in (True, False):
        bench = Bench(limit=2)
        bench.accept(2)
        bench.end_source()
        bench.step()
        call = bench.executor.running[1]
        bench.script[2, 1] = ValueError("again")
        if shrink_first:
            bench.inbox.put(resize(1))
        bench.executor.finish(call)
        bench.step(*() if shrink_first else [resize(1)])
        while not bench.is_done:
            bench.finish("ok")
        assert bench.ends() == {1: 1, 2: 1}
        assert bench.orchestrator.load()[:5] == (0, 0, 0, 1, 0)


# ── the end ─────────────────────────────────────────────────────────────────────────────────────────


def test_it_is_done_when_the_source_has_ended_and_no_job_is_left() -> None:
    """Neither alone is enough."""
    bench = Bench()
    bench.step()
    assert not bench.is_done
    bench.accept()
    bench.end_source()
    bench.step()
    assert not bench.is_done
    assert kinds(bench.finish("ok")) == ["JobSucceeded", "JobsClosed"]
    assert bench.is_done
    assert bench.orchestrator.is_source_complete


def test_an_empty_source_is_done_at_once() -> None:
    """No job at all is a run, too."""
    bench = Bench()
    assert kinds(bench.step(msg.SourceEnded(is_complete=True))) == ["JobsClosed"]
    assert bench.is_done


def test_a_source_that_failed_lets_the_accepted_jobs_finish() -> None:
    """The error is kept for the end; what was accepted runs, retries included."""
    bench = Bench(limit=1)
    bench.accept(3)
    error = OSError("gone")
    bench.step(msg.SourceEnded(is_complete=False, error=error))
    while not bench.is_done:
        bench.finish("ok")
    assert bench.count(ev.JobSucceeded) == 3
    assert bench.orchestrator.error is error
    assert not bench.orchestrator.is_source_complete


def test_rate_messages_become_events() -> None:
    """The producer's word about its rate reaches the sinks, with the state of the queue."""
    bench = Bench(limit=1, capacity=4)
    bench.accept(6)
    bench.step()
    assert bench.step(msg.RateMissed(50.0), msg.RateKept(50.0)) == [
        ev.SourceStalled(50.0, queued=4, capacity=4),
        ev.SourceResumed(50.0),
    ]


# ── drain ───────────────────────────────────────────────────────────────────────────────────────────


def test_drain_all_finishes_what_was_accepted_retries_included() -> None:
    """No more records are drawn; queued jobs and failed ones still run to their end."""
    bench = Bench(limit=1)
    bench.accept(5)
    bench.step()
    (started,) = bench.step(msg.Drain("signal received", 2))
    assert started == ev.DrainStarted("signal received", 2, backlog=5, limit=1)
    assert bench.stop.is_set
    bench.step(msg.SourceEnded(is_complete=False))
    bench.finish(ValueError("again"))
    while not bench.is_done:
        bench.finish("ok")
    assert bench.count(ev.JobSucceeded) == 5
    assert bench.count(ev.JobRetrying) == 1
    assert bench.orchestrator.shutdown.signal == 2
    assert not bench.orchestrator.shutdown.is_forced
    assert kinds(bench.told[-2:]) == ["Draining", "JobsClosed"]
    assert bench.told[-2] == ev.Draining(0)


def test_a_second_drain_changes_nothing() -> None:
    """The first reason and the first signal stay."""
    bench = Bench()
    bench.accept()
    bench.step(msg.Drain("first", 2))
    assert bench.step(msg.Drain("second", 15)) == []
    assert bench.orchestrator.shutdown.signal == 2


def test_a_drain_says_every_half_second_how_much_is_left() -> None:
    """`Draining` comes at 0.5 s, 1.0 s, …, once each, and a late step does not make up for missed ones."""
    bench = Bench(limit=1)
    bench.accept(3)
    bench.step(msg.Drain("asked to"))
    bench.clock.advance(0.4)
    assert bench.step() == []
    bench.clock.advance(0.1)
    assert bench.step() == [ev.Draining(3)]
    assert bench.step() == []
    bench.clock.advance(5)
    assert bench.step() == [ev.Draining(3)]
    bench.clock.advance(0.1)
    assert bench.step() == []


def test_drain_running_gives_up_what_has_not_started() -> None:
    """Queued jobs, calls that wait in the executor and waiting retries are unfinished at once; running ones end."""
    bench = Bench(limit=1, drain_all=False, retry=SlowRetry(delay_s=60))
    bench.accept(5)
    bench.step()
    bench.finish(ValueError("waits for its retry"))
    started = len(bench.executor.submitted)
    bench.step(msg.Drain("asked to"))
    bench.step(msg.SourceEnded(is_complete=False))
    assert not bench.is_done
    running = bench.executor.running[0].attempt.job.id
    assert {job_of(event).id for event in bench.told if is_end(event)} == {1, 2, 3, 4, 5} - {running}
    bench.finish("ok")
    assert bench.is_done
    assert len(bench.executor.submitted) == started
    assert bench.ends() == Counter(range(1, 6))
    assert bench.count(ev.JobUnfinished) == 4


def test_drain_running_does_not_retry_the_job_that_ran() -> None:
    """Its failure leaves it unfinished, with the outcome told; no attempt is spent on it."""
    bench = Bench(limit=1, drain_all=False)
    bench.accept()
    bench.step()
    bench.step(msg.Drain("asked to"))
    (event,) = bench.finish(ValueError("no"))
    assert isinstance(event, ev.JobUnfinished)
    assert event.outcome is not None
    assert not bench.executor.waiting
    assert not bench.executor.running


def test_a_job_that_the_producer_offers_after_an_abort_is_unfinished() -> None:
    """A job drawn is a job owed: the one in the producer's hand is counted, and not started."""
    bench = Bench()
    bench.step(msg.Abort("asked to"))
    bench.accept()
    assert kinds(bench.step(msg.SourceEnded(is_complete=False))) == ["JobUnfinished", "JobsClosed"]
    assert bench.executor.submitted == []


def test_a_drain_that_takes_too_long_becomes_an_abort() -> None:
    """At drain_timeout, and not before, what has not started is given up."""
    bench = Bench(limit=1, drain_timeout_s=10)
    bench.accept(4)
    bench.step()
    bench.step(msg.Drain("asked to", 15))
    bench.clock.advance(9.9)
    bench.step()
    assert bench.count(ev.AbortStarted) == 0
    bench.clock.advance(0.1)
    bench.step()
    assert bench.count(ev.AbortStarted) == 1
    assert bench.orchestrator.shutdown.is_forced
    assert bench.orchestrator.shutdown.signal == 15
    bench.step(msg.SourceEnded(is_complete=False))
    bench.finish("ok")
    assert bench.is_done
    assert bench.ends() == Counter(range(1, 5))
    assert bench.count(ev.JobSucceeded) == 1


# ── abort ───────────────────────────────────────────────────────────────────────────────────────────


def test_nothing_is_started_after_an_abort() -> None:
    """Not a queued job, not a waiting call, not a retry, not after a resize, not when time passes."""
    bench = Bench(limit=2, retry=SlowRetry(delay_s=1))
    bench.accept(10)
    bench.step()
    bench.finish(ValueError("waits for its retry"))
    before, ran = len(bench.executor.submitted), len(bench.executor.running)
    bench.step(msg.Abort("second signal", 2))
    bench.accept()
    bench.step(resize(8))
    bench.clock.advance(2)
    bench.step(msg.Drain("too late"))
    bench.step(msg.SourceEnded(is_complete=False))
    assert len(bench.executor.submitted) == before
    assert len(bench.executor.running) == ran
    bench.finish(ValueError("no retry now"))
    bench.finish("ok")
    assert bench.is_done
    assert len(bench.executor.submitted) == before
    assert bench.ends() == Counter(range(1, 12))
    assert bench.count(ev.JobSucceeded) == 1
    assert bench.count(ev.JobUnfinished) == 10


def test_an_abort_tells_the_work_to_end_what_runs() -> None:
    """`abort` of the work is called, once, also when asked twice."""
    work = ScriptedWork()
    bench = Bench(work=work)
    bench.step(msg.Abort("second signal"))
    bench.step(msg.Abort("again"))
    assert work.aborts == 1
    assert bench.count(ev.AbortStarted) == 1
    assert bench.stop.is_set


def test_work_without_abort_is_left_to_itself() -> None:
    """A plain function has no `abort`, and needs none."""
    bench = Bench(work=lambda attempt: attempt)
    bench.accept()
    bench.step(msg.Abort("asked to"))
    assert bench.orchestrator.shutdown.is_forced


def test_an_abort_keeps_the_first_signal() -> None:
    """The exit code speaks of the signal that began it."""
    bench = Bench()
    bench.step(msg.Drain("signal received", 2))
    bench.step(msg.Abort("second signal", 15))
    assert bench.orchestrator.shutdown.signal == 2


def test_a_job_that_would_not_end_is_abandoned() -> None:
    """At the end of the patience it is unfinished, the run is done, and its late completion is ignored."""
    bench = Bench(limit=2, abort_patience_s=2.5)
    bench.accept(2)
    bench.step()
    late = bench.executor.running[0]
    bench.step(msg.Abort("asked to"))
    bench.clock.advance(2.4)
    bench.step()
    assert not bench.is_done
    bench.clock.advance(0.1)
    news = bench.step()
    assert kinds(news) == ["JobUnfinished", "JobUnfinished", "JobsClosed"]
    assert bench.is_done
    assert bench.orchestrator.is_abandoned
    assert not any(is_end(event) for event in bench.finish("too late", call=late))
    assert bench.ends() == {1: 1, 2: 1}


def test_a_source_that_hangs_is_not_waited_for_after_an_abort() -> None:
    """With no job left the run is done when the patience has passed, and nothing counts as abandoned."""
    bench = Bench(abort_patience_s=2.5)
    bench.step(msg.Abort("asked to"))
    bench.clock.advance(2.5)
    bench.step()
    assert bench.is_done
    assert not bench.orchestrator.is_abandoned


# ── what breaks ─────────────────────────────────────────────────────────────────────────────────────


def test_a_crashed_thread_aborts_the_run() -> None:
    """The first error is kept; the source is not waited for, since its thread may be the one that died."""
    bench = Bench(limit=1)
    bench.accept(3)
    bench.step()
    error = ZeroDivisionError("policy")
    bench.step(msg.Crashed("supervisor", error), msg.Crashed("producer", ValueError("later")))
    assert bench.count(ev.AbortStarted) == 1
    assert bench.orchestrator.error is error
    bench.finish("ok")
    assert bench.is_done
    assert bench.ends() == Counter(range(1, 4))


def test_a_sink_that_failed_drains_the_run() -> None:
    """Accepted jobs finish; the error is kept for the end."""
    bench = Bench(limit=1)
    bench.accept(3)
    error = OSError("disk full")
    bench.step(msg.SinkFailed(error))
    assert kinds(bench.told) == ["DrainStarted"]
    assert bench.stop.is_set
    bench.step(msg.SourceEnded(is_complete=False))
    while not bench.is_done:
        bench.finish("ok")
    assert bench.count(ev.JobSucceeded) == 3
    assert bench.orchestrator.error is error


def test_a_reader_that_went_away_aborts_the_run() -> None:
    """Nobody will read what the jobs write: nothing more is started."""
    bench = Bench(limit=1)
    bench.accept(3)
    bench.step()
    bench.step(msg.SinkFailed(OutputError("stdout: Broken pipe", reader_gone=True)))
    assert bench.count(ev.AbortStarted) == 1
    assert bench.orchestrator.shutdown.is_forced


def test_a_future_that_raises_means_that_the_pool_broke() -> None:
    """It comes out of `step`: that is no job's failure."""
    bench = Bench()
    bench.accept()
    bench.step()
    bench.executor.break_off(BrokenThreadPool("it broke"))
    with pytest.raises(BrokenThreadPool):
        bench.step()


def test_a_future_that_nobody_knows_is_ignored() -> None:
    """Only attempts in flight settle."""
    bench = Bench()
    stranger: Future[Any] = Future()
    stranger.set_result("who?")
    assert bench.step(stranger) == []


# ── the loop around the steps ───────────────────────────────────────────────────────────────────────


def test_while_the_collector_is_far_behind_nothing_is_started_and_every_message_is_heard() -> None:
    """The reader of stdout may stall for ever: events stay bounded, and a signal still drains the run."""
    events: Handover[ev.Event] = Handover(capacity=10)
    backlog: Handover[Job] = Handover()
    inbox: Handover[msg.Message] = Handover()
    work, stop = ScriptedWork(), Stop()
    backlog.put_all(Job(number, None) for number in range(1, 501))
    orchestrator = Orchestrator(
        work, InlineExecutor(), 1, backlog, inbox, events, stop, retry=RetryPolicy(0), drain_all=True
    )
    while not events.is_full:
        orchestrator.step(inbox.take_nowait())
    done = len(work.attempts)
    for _ in range(3):
        orchestrator.step(inbox.take_nowait())
    assert len(work.attempts) == done
    assert 10 <= len(events) <= 10 + 2
    orchestrator.step([msg.Drain("signal received", 2)])
    assert stop.is_set
    taken = events.take_nowait(4)
    orchestrator.step([])
    assert len(work.attempts) == done, "it goes on when half has been taken, not before"
    taken += events.take_nowait(4)
    orchestrator.step([])
    assert len(work.attempts) > done


def test_a_run_that_starts_nothing_more_does_not_wait_for_room_either() -> None:
    """Else the room that is there again would wake it for ever: a loop as busy as the last job is long."""
    bench = Bench(drain_all=False)
    bench.accept(5)
    bench.step()
    bench.events.capacity = 3
    bench.events.put_all([ev.RunStarted(2)] * 3)
    bench.orchestrator.step([])
    bench.orchestrator.step([msg.Drain("signal received", 2)])
    bench.events.take_nowait()
    bench.orchestrator.step([])
    bench.backlog.is_wanted = bench.orchestrator._room() > 0
    assert not bench.orchestrator._may_go_on()


def test_no_due_retry_is_started_or_waited_for_while_the_collector_is_far_behind() -> None:
    """A retry that is due and cannot start must not make the loop spin."""
    bench = Bench()
    bench.accept()
    bench.step()
    bench.script[1, 1] = ValueError("again")
    bench.executor.finish()
    bench.events.capacity = 3
    bench.events.put_all([ev.RunStarted(2)] * 3)
    bench.orchestrator.step(bench.inbox.take_nowait())
    assert bench.executor.running == []
    assert bench.orchestrator._next_wake_s() is None
    bench.step()
    bench.step()
    assert [call.attempt.number for call in bench.executor.running] == [2]


def test_run_goes_on_when_the_collector_has_caught_up() -> None:
    """It sleeps until half of the events have been taken, and no message tells it so."""
    bell = Bell()
    events: Handover[ev.Event] = Handover(capacity=10, room_bell=bell)
    backlog: Handover[Job] = Handover(bell, capacity=600)
    inbox: Handover[msg.Message] = Handover(bell)
    backlog.put_all(Job(number, None) for number in range(1, 501))
    inbox.put(msg.SourceEnded(is_complete=True))
    orchestrator = Orchestrator(
        ScriptedWork(), InlineExecutor(), 1, backlog, inbox, events, Stop(), retry=RetryPolicy(0)
    )
    running = Spawned(orchestrator.run)
    seen: list[ev.Event] = []
    while not seen or not isinstance(seen[-1], ev.JobsClosed):
        wait_until(lambda: bell.parked or not running.thread.is_alive())
        assert len(events) <= 10 + 3
        seen += events.take_nowait()
    running.result()
    assert kinds(seen).count("JobSucceeded") == 500


class _LateOffer(Handover[msg.Message]):
    """Lets a job come between a step and the wait that follows: the reader is not parked, nobody rings."""

    def __init__(self, bell: Bell, backlog: Handover[Job]) -> None:
        super().__init__(bell)
        self._backlog = backlog
        self._has_come = False

    def take_wait(self, *args: Any, **kwargs: Any) -> list[msg.Message]:
        if not self._has_come:
            self._has_come = True
            self._backlog.put(Job(1, None))
        return super().take_wait(*args, **kwargs)


def test_run_sees_a_job_that_came_just_before_it_waits() -> None:
    """With no message to come it would sleep for ever beside an accepted job."""
    bell = Bell()
    backlog: Handover[Job] = Handover(bell, capacity=5)
    inbox = _LateOffer(bell, backlog)
    events: Handover[ev.Event] = Handover()

    def work(attempt: Attempt) -> None:
        inbox.put(msg.SourceEnded(is_complete=True))

    orchestrator = Orchestrator(
        work, InlineExecutor(), 1, backlog, inbox, events, Stop(), retry=RetryPolicy(0)
    )
    Spawned(orchestrator.run).result()
    assert "JobSucceeded" in kinds(events.take_nowait())


def test_run_wakes_up_for_a_retry_that_becomes_due() -> None:
    """With nothing else to happen it does not wait for a message that never comes."""
    events: Handover[ev.Event] = Handover()
    backlog: Handover[Job] = Handover()
    inbox: Handover[msg.Message] = Handover()
    backlog.put(Job(1, None))
    inbox.put(msg.SourceEnded(is_complete=True))
    work = ScriptedWork({(1, 1): ValueError("again")})
    Orchestrator(
        work, InlineExecutor(), 1, backlog, inbox, events, Stop(), retry=SlowRetry(delay_s=0.01)
    ).run()
    assert work.attempts == [(1, 1), (1, 2)]
    assert kinds(events.take_nowait())[-2:] == ["JobSucceeded", "JobsClosed"]


# ── any order of anything ───────────────────────────────────────────────────────────────────────────


class AnyRun(RuleBasedStateMachine):
    """Messages in any order: each accepted job ends exactly once, and the backlog is what is left."""

    @initialize(
        limit=st.integers(1, 3),
        capacity=st.integers(1, 5),
        max_retries=st.integers(0, 2),
        delay_s=st.sampled_from([0.0, 1.0, 30.0]),
        drain_all=st.booleans(),
        drain_timeout_s=st.sampled_from([None, 3.0]),
    )
    def set_up(
        self,
        limit: int,
        capacity: int,
        max_retries: int,
        delay_s: float,
        drain_all: bool,
        drain_timeout_s: float | None,
    ) -> None:
        self.bench = Bench(
            limit,
            capacity=capacity,
            retry=SlowRetry(max_retries, delay_s=delay_s),
            drain_all=drain_all,
            drain_timeout_s=drain_timeout_s,
        )
        self.max_attempts = max_retries + 1
        self.capacity = capacity
        self.source_has_ended = False
        self.in_hand = True  # the producer may offer one more after the stop
        self.aborted_at: int | None = None  # how much had been submitted by then

    def step(self, *messages: msg.Message) -> None:
        bench = self.bench
        before, waiting = len(bench.executor.submitted), bench.orchestrator.load().waiting
        bench.step(*messages)
        fresh = bench.executor.submitted[before:]
        if fresh:
            limit = bench.orchestrator.limit
            assert bench.in_flight <= 2 * limit
        if bench.orchestrator.load().waiting >= self.capacity and waiting >= self.capacity:
            assert all(call.attempt.number > 1 for call in fresh)
        numbers = [call.attempt.number > 1 for call in fresh]
        assert numbers == sorted(numbers, reverse=True)  # retries first

    @precondition(lambda self: not self.source_has_ended)
    @rule(count=st.integers(1, 4))
    def accept(self, count: int) -> None:
        for _ in range(count):
            if self.bench.stop.is_set:
                if not self.in_hand:
                    break
                self.in_hand = False
            if self.bench.backlog.is_full and not self.bench.stop.is_set:
                break
            self.bench.accept()
        self.step()

    @precondition(lambda self: self.bench.executor.running)
    @rule(
        data=st.data(),
        outcome=st.sampled_from(
            ["ok", ValueError("no"), PermanentError("bad"), SystemExit(1), Interrupted()]
        ),
    )
    def finish(self, data: st.DataObject, outcome: Any) -> None:
        call = data.draw(st.sampled_from(self.bench.executor.running))
        self.bench.script[call.attempt.job.id, call.attempt.number] = outcome
        self.bench.executor.finish(call)
        if data.draw(st.booleans()):  # else it comes in one batch with what is next
            self.step()

    @rule(limit=st.integers(1, 4))
    def resize(self, limit: int) -> None:
        self.step(resize(limit))

    @rule(seconds=st.sampled_from([0.1, 0.5, 1.0, 2.5, 30.0]))
    def let_time_pass(self, seconds: float) -> None:
        self.bench.clock.advance(seconds)
        self.step()

    @rule()
    def end_source(self) -> None:
        if not self.source_has_ended:
            self.source_has_ended = True
            self.step(msg.SourceEnded(is_complete=True))

    @rule()
    def drain(self) -> None:
        self.step(msg.Drain("asked to", 2))

    @rule()
    def abort(self) -> None:
        self.step(msg.Abort("asked to", 2))

    @rule()
    def fail_sink(self) -> None:
        self.step(msg.SinkFailed(OSError("disk full")))

    @invariant()
    def nothing_starts_after_an_abort(self) -> None:
        if self.bench.count(ev.AbortStarted):
            submitted = len(self.bench.executor.submitted)
            self.aborted_at = submitted if self.aborted_at is None else self.aborted_at
            assert submitted == self.aborted_at

    @invariant()
    def no_job_is_tried_too_often(self) -> None:
        tried = Counter(call.attempt for call in self.bench.executor.submitted)
        assert all(count == 1 for count in tried.values())
        assert all(attempt.number <= self.max_attempts for attempt in tried)

    @invariant()
    def the_backlog_is_what_has_not_ended(self) -> None:
        ended = self.bench.ends()
        assert all(count == 1 for count in ended.values())
        assert self.bench.orchestrator.load().backlog == self.bench.accepted - len(ended)

    def teardown(self) -> None:
        bench = self.bench
        self.end_source()
        for _ in range(1000):
            if bench.is_done:
                break
            bench.clock.advance(0.3)
            if bench.executor.running:
                bench.executor.finish()
            self.step()
        assert bench.is_done
        assert bench.ends() == Counter(range(1, bench.accepted + 1))
        ended = [bench.count(kind) for kind in (ev.JobSucceeded, ev.JobFailed, ev.JobUnfinished)]
        assert bench.accepted == sum(ended)
        assert bench.orchestrator.load().backlog == 0


AnyRun.TestCase.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
TestAnyRun = AnyRun.TestCase


def test_the_virtual_run_uses_an_executor_that_obeys_its_limit() -> None:
    """The harness itself: never more calls running than the limit, also right after growing."""
    executor = ManualExecutor(1)
    futures = [executor.submit(int) for _ in range(3)]
    assert [future.running() for future in futures] == [True, False, False]
    executor.resize(2)
    assert [future.running() for future in futures] == [True, True, False]
