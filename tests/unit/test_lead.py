"""How far a source may run ahead of what has been shown."""

from collections.abc import Iterator
from functools import partial

import pytest
from dynamic_pipeline.errors import SourceStopped
from dynamic_pipeline.lead import Lead
from dynamic_pipeline.sources.ahead import Ahead
from dynamic_pipeline.stop import Stop

from tests.doubles import Spawned, wait_until, wait_until_waiting


class Numbers:
    """An endless source that counts what was drawn of it."""

    is_endless = True
    has_cr = False

    def __init__(self) -> None:
        self.drawn = 0

    def has_drawn(self, count: int) -> bool:
        return self.drawn >= count

    def __iter__(self) -> Iterator[int]:
        while True:
            self.drawn += 1
            yield self.drawn


def test_a_source_stays_within_its_lead() -> None:
    """Exactly as many are drawn as may be ahead; each that is released lets one more go."""
    stop = Stop()
    lead, numbers = Lead(stop, most=3), Numbers()
    got: list[int] = []
    drawing = Spawned(lambda: got.extend(Ahead(numbers, lead)))
    for released in (0, 2, 3):
        lead.release(released)
        drawn = released + 3
        wait_until(partial(numbers.has_drawn, drawn))
        wait_until_waiting(drawing.thread, "wait_room")
        assert drawn == numbers.drawn
    stop.set()
    with pytest.raises(SourceStopped):
        drawing.result()
    assert 6 == numbers.drawn


def test_a_stop_is_heard_while_it_waits_and_draws_nothing() -> None:
    """A record that was drawn would have to be run."""
    stop = Stop()
    lead, numbers = Lead(stop, most=1), Numbers()
    records = iter(Ahead(numbers, lead))
    assert 1 == next(records)
    waiting = Spawned(lambda: next(records))
    wait_until_waiting(waiting.thread, "wait_room")
    stop.set()

    with pytest.raises(SourceStopped):
        waiting.result()
    assert 1 == numbers.drawn


def test_a_stop_that_came_before_is_no_reason_to_wait() -> None:
    """The flag counts, not only the moment it is set."""
    stop = Stop()
    stop.set()

    assert not Lead(stop, most=1).wait_room(1)
    assert Lead(stop, most=1).wait_room(0)


def test_a_source_ends_as_it_does_without_a_lead() -> None:
    """All its records, and the end."""
    assert [1, 2, 3] == list(Ahead([1, 2, 3], Lead(Stop())))


def test_what_others_ask_a_source_is_answered_by_it() -> None:
    """Also what changes while it is read; what it lacks is lacking."""
    numbers = Numbers()
    ahead = Ahead(numbers, Lead(Stop()))
    numbers.has_cr = True

    assert (True, True, 0) == (ahead.is_endless, ahead.has_cr, ahead.drawn)
    assert not hasattr(ahead, "rate_per_s")


def test_the_lead_of_a_run_is_ten_thousand_jobs() -> None:
    """Enough for any pool; what waits stays small."""
    lead = Lead(Stop())

    assert (True, False) == (lead.has_room(9_999), lead.has_room(10_000))
