"""The producer, run on the test's own thread: what is drawn is offered, what is not wanted is not drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from dynamic_pipeline.errors import SourceStopped
from dynamic_pipeline.handover import Handover
from dynamic_pipeline.inbox import Message, RateKept, RateMissed, SourceEnded
from dynamic_pipeline.jobs import Job
from dynamic_pipeline.producer import Producer
from dynamic_pipeline.stop import Stop

from tests.doubles import Spawned


class Line:
    """A producer with the queues before and behind it."""

    def __init__(
        self, source: Iterable[Any], *, capacity: int | None = None, stop: Stop | None = None
    ) -> None:
        self.backlog: Handover[Job] = Handover(capacity=capacity)
        self.inbox: Handover[Message] = Handover()
        self.stop = stop or Stop()
        self.producer = Producer(source, self.backlog, self.inbox, self.stop)

    def run(self) -> list[Message]:
        self.producer.run()
        return self.inbox.take_nowait()


def test_each_record_becomes_a_job_in_order() -> None:
    """Ids count from 1; the end of the source is told once."""
    line = Line(["a", "b", None])
    assert line.run() == [SourceEnded(is_complete=True)]
    assert line.backlog.take_nowait() == [Job(1, "a"), Job(2, "b"), Job(3, None)]
    assert line.producer.accepted == 3


def test_an_empty_source_is_complete() -> None:
    """No record, no job, and the source was read to its end."""
    line = Line(())
    assert line.run() == [SourceEnded(is_complete=True)]
    assert line.producer.accepted == 0


def test_nothing_is_drawn_when_the_stop_was_set_before() -> None:
    """Not even the iterator is made."""

    def untouchable() -> Iterator[int]:
        raise AssertionError("drawn")
        yield 1

    line = Line(untouchable())
    line.stop.set()
    assert line.run() == [SourceEnded(is_complete=False)]
    assert line.producer.accepted == 0


def test_a_job_drawn_is_a_job_owed() -> None:
    """A stop that comes while a record is drawn lets this one through, and draws no other."""
    stop = Stop()

    def source() -> Iterator[int]:
        yield 1
        stop.set()
        yield 2
        yield 3

    line = Line(source(), stop=stop)
    assert line.run() == [SourceEnded(is_complete=False)]
    assert [job.payload for job in line.backlog.take_nowait()] == [1, 2]
    assert line.producer.accepted == 2


def test_what_the_source_raises_is_told() -> None:
    """The records before it are accepted; the error goes with the end of the source."""
    error = RuntimeError("gone")

    def source() -> Iterator[int]:
        yield 1
        raise error

    line = Line(source())
    assert line.run() == [SourceEnded(is_complete=False, error=error)]
    assert line.producer.accepted == 1


def test_something_that_is_no_iterable_is_the_sources_error() -> None:
    """The `TypeError` of `iter` is told like any error of the source."""
    (message,) = Line(None).run()  # type: ignore[arg-type]  # the mistake that is tested
    assert isinstance(message, SourceEnded)
    assert isinstance(message.error, TypeError)


def test_a_source_that_gave_up_waiting_has_not_failed() -> None:
    """`SourceStopped` means that the stop came while it waited: incomplete, but no error."""

    def source() -> Iterator[int]:
        yield 1
        raise SourceStopped

    assert Line(source()).run() == [SourceEnded(is_complete=False)]


class _Paced:
    """A source with a rate that looks at the backlog while it is drawn from."""

    rate_per_s = 50.0

    def __init__(self, turns: list[Callable[[], None]]) -> None:
        self._turns = turns

    def __iter__(self) -> Iterator[int]:
        for number, turn in enumerate(self._turns):
            turn()
            yield number


class _SelfEmptying(Handover[Job]):
    """Plays the reader on the thread that waits for room."""

    def wait_room(self) -> None:
        if self.is_full:
            self.take_nowait()


def test_a_missed_rate_is_told_once_per_change_of_state() -> None:
    """Full: told; then silence until it is down to a quarter, which is told; full again: told again."""
    backlog = _SelfEmptying(capacity=8)
    inbox: Handover[Message] = Handover()

    def nothing() -> None:
        pass

    def fill(count: int) -> Callable[[], None]:
        return lambda: backlog.put_all(Job(0, None) for _ in range(count - len(backlog)))

    source = _Paced([nothing, fill(8), fill(8), fill(3), fill(8), fill(2), fill(8)])
    Producer(source, backlog, inbox, Stop()).run()
    assert inbox.take_nowait() == [
        RateMissed(50.0),
        RateKept(50.0),
        RateMissed(50.0),
        SourceEnded(is_complete=True),
    ]


def test_a_source_without_a_rate_is_not_paced() -> None:
    """A full queue is no news when nobody promised a rate."""
    line = Line(range(5), capacity=1)
    running = Spawned(line.producer.run)
    taken: list[Job] = []
    told: list[Message] = []
    while not told:
        taken += line.backlog.take_wait(0.01)
        told += line.inbox.take_nowait()
    running.result()
    taken += line.backlog.take_nowait()
    assert [job.payload for job in taken] == [0, 1, 2, 3, 4]
    assert told == [SourceEnded(is_complete=True)]
