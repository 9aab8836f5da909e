"""The soft time limit of Python calls, on a clock of the test's own."""

from __future__ import annotations

from typing import Any

import pytest
from dynamic_pipeline.attempts import Attempt, Succeeded, run_attempt
from dynamic_pipeline.handover import Handover
from dynamic_pipeline.inbox import Message, TimedOut
from dynamic_pipeline.job_context import JobContext, current_job
from dynamic_pipeline.jobs import Job
from dynamic_pipeline.stop import Stop
from dynamic_pipeline.watchdog import Watchdog
from dynamic_pipeline.work.callable import call_with_payload

from tests.doubles import FakeClock, Gate, Spawned


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(100.0)


@pytest.fixture
def inbox() -> Handover[Message]:
    return Handover()


def attempt(number: int) -> Attempt:
    return Attempt(Job(number, number), 1)


def test_what_takes_too_long_is_told_once(clock: FakeClock, inbox: Handover[Message]) -> None:
    """At its time and not before, with its flag raised; one that ended in time is not told at all."""
    seen: list[JobContext] = []
    watch: list[float] = []

    def call(_: Any) -> bool:
        seen.append(current_job())
        watch.append(dog.look())
        clock.advance(4.9)
        watch.append(dog.look())
        before = seen[-1].should_stop
        clock.advance(0.1)
        watch.append(dog.look())
        return not before and seen[-1].should_stop

    dog = Watchdog(call_with_payload(call), 5.0, inbox, Stop(), clock)
    outcome = run_attempt(dog.work, attempt(7))

    assert isinstance(outcome, Succeeded)
    assert outcome.value
    assert watch == pytest.approx([5.0, 0.1, 5.0])
    (told,) = inbox.take_nowait()
    assert isinstance(told, TimedOut)
    assert (told.attempt, told.outcome.error, told.outcome.is_retryable) == (
        attempt(7),
        "timeout after 5 s; a call cannot be ended, so it is left behind",
        False,
    )
    assert dog.look() == 5.0
    assert inbox.take_nowait() == []


def test_one_that_ends_in_time_is_forgotten(clock: FakeClock, inbox: Handover[Message]) -> None:
    """Also if it raises."""
    dog = Watchdog(call_with_payload(lambda number: 1 // number), 5.0, inbox, Stop(), clock)
    for number in (1, 0):
        run_attempt(dog.work, attempt(number))
    clock.advance(60)

    assert dog.look() == 5.0
    assert inbox.take_nowait() == []


def test_an_abort_raises_the_flag_of_every_call(inbox: Handover[Message]) -> None:
    """The watched work is aborted as the work itself."""
    flags: list[bool] = []

    def call(_: Any) -> None:
        job = current_job()
        flags.append(job.should_stop)
        dog.work.abort()  # type: ignore[attr-defined]
        flags.append(job.should_stop)

    dog = Watchdog(call_with_payload(call), 5.0, inbox, Stop())
    run_attempt(dog.work, attempt(1))

    assert flags == [False, True]


def test_the_thread_sleeps_until_the_oldest_is_due_and_ends_when_told(inbox: Handover[Message]) -> None:
    """Real threads: one call hangs, another ends; only the first is told; `stop` ends the watch at once."""
    stop, gate = Stop(), Gate()
    dog = Watchdog(call_with_payload(lambda hangs: gate() if hangs else None), 0.05, inbox, stop)
    watching = Spawned(dog.run)
    hanging = Spawned(lambda: run_attempt(dog.work, Attempt(Job(1, True), 1)))
    run_attempt(dog.work, Attempt(Job(2, False), 1))
    (told,) = inbox.take_wait(10)
    assert isinstance(told, TimedOut)
    assert told.attempt.job.id == 1
    gate.let_out()
    hanging.result()
    stop.set()
    watching.result()


def test_a_job_knows_itself() -> None:
    """Its number and its attempt, on the thread it runs on; elsewhere there is none."""
    outcome = run_attempt(call_with_payload(lambda _: current_job()), Attempt(Job(7, "x"), 3))

    assert isinstance(outcome, Succeeded)
    assert (outcome.value.id, outcome.value.attempt, outcome.value.should_stop) == (7, 3, False)
    with pytest.raises(LookupError, match="no job runs on this thread"):
        Spawned(current_job).result()


def test_work_without_flags_never_asks_to_stop() -> None:
    """Such as the simulated one: the question is allowed all the same."""
    outcome = run_attempt(lambda _: current_job().should_stop, Attempt(Job(7, "x"), 1))

    assert isinstance(outcome, Succeeded)
    assert outcome.value is False


def test_a_look_that_a_garbage_collection_disturbs_is_taken_again(
    clock: FakeClock, inbox: Handover[Message]
) -> None:
    """A finalizer may let workers go on in the middle of it, and the dict is another one then."""

    class Disturbed(dict[int, tuple[float, Attempt, str]]):
        looks = 0

        def values(self) -> Any:
            self.looks += 1
            if self.looks == 1:
                raise RuntimeError("dictionary changed size during iteration")
            return super().values()

    dog = Watchdog(call_with_payload(str), 5.0, inbox, Stop(), clock)
    dog._running = running = Disturbed({7: (clock() - 1, attempt(7), "worker-01")})
    dog.look()

    assert [TimedOut] == [type(message) for message in inbox.take_nowait()]
    assert 2 == running.looks
