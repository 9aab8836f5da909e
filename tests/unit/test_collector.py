"""The collector, batch by batch on the test's own thread."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from dynamic_pipeline.attempts import Attempt, Failed, Succeeded
from dynamic_pipeline.collector import Collector
from dynamic_pipeline.events import Event, JobFailed, JobSucceeded, JobUnfinished, RunFinished
from dynamic_pipeline.handover import Handover
from dynamic_pipeline.inbox import Message, SinkFailed
from dynamic_pipeline.jobs import Job
from dynamic_pipeline.stats import Stats

from tests.doubles import RecordingSink

JOB = Job(1, None)
ATTEMPT = Attempt(JOB, 1)
OK = JobSucceeded(ATTEMPT, Succeeded(None, 0.5, "worker-01"))
BAD = JobFailed(ATTEMPT, Failed("no", 0.5, "worker-01"))
END = RunFinished(is_graceful=True)


class _Broken(RecordingSink):
    """Raises *error* in `emit`, `close` or both."""

    def __init__(self, error: BaseException, *, emits: bool = True, closes: bool = True) -> None:
        super().__init__()
        self._error, self._emits, self._closes = error, emits, closes
        self.emitted = 0

    def emit(self, events: Sequence[Event], stats: Stats) -> None:
        self.emitted += 1
        if self._emits:
            raise self._error

    def close(self) -> None:
        super().close()
        if self._closes:
            raise self._error


def collector(*sinks: RecordingSink) -> tuple[Collector, Handover[Message], Handover[Event]]:
    inbox: Handover[Message] = Handover()
    events: Handover[Event] = Handover()
    return Collector(events, sinks, inbox), inbox, events


def test_sinks_hear_everything_in_order_and_are_closed_at_the_end() -> None:
    """Each batch goes to each sink; the end of the run closes them, once."""
    first, second = RecordingSink(), RecordingSink()
    machine, inbox, _ = collector(first, second)
    assert not machine.handle([OK, BAD])
    assert first.closed == 0
    assert machine.handle([OK, END])
    assert first.events == second.events == [OK, BAD, OK, END]
    assert (first.closed, second.closed) == (1, 1)
    assert inbox.take_nowait() == []


def test_the_stats_hold_the_batch_when_the_sinks_hear_of_it() -> None:
    """A sink that shows counts shows them as they are."""

    class Counting(RecordingSink):
        def emit(self, events: Sequence[Event], stats: Stats) -> None:
            counts.append((stats.succeeded, stats.failed, stats.unfinished))

    counts: list[tuple[int, int, int]] = []
    machine, _, _ = collector(Counting())
    machine.handle([OK])
    machine.handle([BAD, JobUnfinished(JOB), END])
    assert counts == [(1, 0, 0), (1, 1, 1)]


@pytest.mark.parametrize("error", [OSError("disk full"), SystemExit(1), KeyboardInterrupt()])
def test_a_sink_that_raises_is_closed_and_reported_once(error: BaseException) -> None:
    """It hears no more; the other sinks go on as if nothing had happened."""
    broken, sound = _Broken(error, closes=False), RecordingSink()
    machine, inbox, _ = collector(broken, sound)
    machine.handle([OK])
    machine.handle([OK])
    machine.handle([END])
    assert (broken.emitted, broken.closed) == (1, 1)
    assert inbox.take_nowait() == [SinkFailed(error)]
    assert sound.events == [OK, OK, END]
    assert sound.closed == 1


def test_a_sink_that_raises_in_close_after_it_raised_in_emit_is_reported_once() -> None:
    """What a broken sink says about its own end adds nothing."""
    error = OSError("disk full")
    machine, inbox, _ = collector(_Broken(error))
    machine.handle([OK])
    machine.handle([END])
    assert inbox.take_nowait() == [SinkFailed(error)]


@pytest.mark.parametrize("error", [OSError("disk full"), SystemExit(1)])
def test_a_sink_that_raises_when_it_is_closed_does_not_keep_the_others_open(error: BaseException) -> None:
    """It is reported, and the next one is closed all the same."""
    sound = RecordingSink()
    machine, inbox, _ = collector(_Broken(error, emits=False), sound)
    assert machine.handle([END])
    assert sound.closed == 1
    assert inbox.take_nowait() == [SinkFailed(error)]


def test_run_naps_between_batches_and_ends_with_the_run() -> None:
    """One nap per batch, none after the last event."""
    sink = RecordingSink()
    machine, _, events = collector(sink)
    naps: list[float] = []

    def nap(seconds: float) -> None:
        naps.append(seconds)
        events.put(END)

    events.put_all([OK, BAD])
    machine.run(nap)
    assert sink.events == [OK, BAD, END]
    assert len(naps) == 1
