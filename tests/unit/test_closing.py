"""The last wait of a run, on one thread: the clock goes on by what the wait was allowed to take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dynamic_pipeline import inbox as msg
from dynamic_pipeline.closing import wait_written
from dynamic_pipeline.handover import Handover
from dynamic_pipeline.lifecycle import Phase, Shutdown

from tests.doubles import FakeClock


class _Inbox(Handover[msg.Message]):
    """Gives one message per wait; an empty wait lasts as long as it may."""

    def __init__(self, clock: FakeClock, *messages: msg.Message) -> None:
        super().__init__()
        self._clock = clock
        self._to_come = list(messages)

    def take_wait(
        self, timeout_s: float | None = None, *, or_ready: Callable[[], object] = bool
    ) -> list[Any]:
        if self._to_come:
            return [self._to_come.pop(0)]
        assert timeout_s is not None
        assert timeout_s < 100.0, "it would wait for ever"
        self._clock.advance(timeout_s)
        return []


def test_it_ends_when_all_is_written() -> None:
    """The message only wakes it up."""
    answers = iter([False, True])
    inbox: Handover[msg.Message] = Handover()
    inbox.put(msg.Written())
    assert wait_written(lambda: next(answers), inbox, Shutdown(None, 2.5))


def test_a_signal_after_the_last_job_drains_and_the_second_gives_up_after_the_patience() -> None:
    """The reader of our output never reads on."""
    clock, shutdown = FakeClock(100.0), Shutdown(None, 2.5)
    inbox = _Inbox(clock, msg.Drain("signal received", 2), msg.Abort("second signal", 2))
    assert not wait_written(lambda: False, inbox, shutdown, clock)
    assert (shutdown.phase, shutdown.signal, clock.now_s) == (Phase.ABORTING, 2, 102.5)


def test_the_drain_timeout_counts_on() -> None:
    """Without a second signal: the timeout of the drain, then the patience of the abort."""
    clock, shutdown = FakeClock(100.0), Shutdown(7.0, 2.5)
    inbox = _Inbox(clock, msg.Drain("signal received", 15))
    assert not wait_written(lambda: False, inbox, shutdown, clock)
    assert (shutdown.is_forced, clock.now_s) == (True, 109.5)


def test_a_forced_run_whose_patience_has_ended_waits_a_moment_only() -> None:
    """A job hung and was given up; the output is not waited for as long again."""
    clock, shutdown = FakeClock(100.0), Shutdown(None, 2.5)
    shutdown.enter(Phase.ABORTING, 100.0)
    shutdown.take_due(102.5)
    clock.advance(2.5)
    assert not wait_written(lambda: False, _Inbox(clock), shutdown, clock)
    assert clock.now_s < 103.5
