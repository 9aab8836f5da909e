"""The queue between threads, on one thread where that is enough."""

from __future__ import annotations

from dynamic_pipeline.handover import Bell, Handover

from tests.doubles import Spawned, offer_all, wait_until, wait_until_waiting


def test_items_come_out_in_the_order_in_which_they_went_in() -> None:
    """`put`, `put_all` and `offer` share one queue."""
    line: Handover[int] = Handover()
    line.put(1)
    line.put_all([2, 3])
    line.offer(4)
    assert len(line) == 4
    assert line.take_nowait() == [1, 2, 3, 4]
    assert line.take_nowait() == []


def test_take_nowait_takes_no_more_than_asked_for() -> None:
    """The rest stays, in order."""
    line: Handover[int] = Handover()
    line.put_all(range(5))
    assert line.take_nowait(2) == [0, 1]
    assert line.take_nowait(0) == []
    assert line.take_nowait(9) == [2, 3, 4]


def test_a_queue_is_full_at_its_capacity() -> None:
    """`is_full` from the capacity on; never without one; `put` goes beyond it."""
    line: Handover[int] = Handover(capacity=2)
    line.put(1)
    assert not line.is_full
    line.put(2)
    assert line.is_full
    line.put(3)
    assert len(line) == 3
    free: Handover[int] = Handover()
    free.put_all(range(1000))
    assert not free.is_full


def test_take_wait_does_not_wait_when_something_is_there() -> None:
    """What waits is taken at once."""
    line: Handover[int] = Handover()
    line.put(1)
    assert line.take_wait() == [1]


def test_take_wait_returns_empty_handed_when_its_time_is_up() -> None:
    """A timeout of 0, or one that is over already, asks without waiting."""
    line: Handover[int] = Handover()
    assert line.take_wait(0.0) == []
    assert line.take_wait(-1.0) == []
    assert line.take_wait(0.001) == []


def test_take_wait_returns_when_the_other_reason_is_there() -> None:
    """A reader of two queues waits for either."""
    line: Handover[int] = Handover()
    assert line.take_wait(or_ready=lambda: True) == []


def test_a_parked_reader_is_woken_by_each_way_to_put() -> None:
    """`put`, `put_all` and `offer` all ring."""
    for way in ("put", "put_all", "offer"):
        line: Handover[int] = Handover()
        reader = Spawned(line.take_wait)
        wait_until_waiting(reader.thread, "take_wait")
        getattr(line, way)([7] if way == "put_all" else 7)
        assert reader.result() == [7]


def test_queues_with_one_bell_wake_one_reader() -> None:
    """An item in the second queue ends the wait at the first."""
    bell = Bell()
    first: Handover[int] = Handover(bell)
    second: Handover[int] = Handover(bell)
    reader = Spawned(lambda: (first.take_wait(or_ready=lambda: len(second)), second.take_nowait()))
    wait_until_waiting(reader.thread, "take_wait")
    second.put(7)
    assert reader.result() == ([], [7])


def test_an_item_that_is_not_wanted_wakes_nobody() -> None:
    """While the reader could not use it an item waits in silence; it is there at the next look."""
    bell = Bell()
    inbox: Handover[int] = Handover(bell)
    backlog: Handover[int] = Handover(bell, capacity=9)
    backlog.is_wanted = False
    reader = Spawned(inbox.take_wait)
    wait_until(lambda: bell.parked)
    backlog.put(1)
    backlog.put_all([2])
    backlog.offer(3)
    assert len(bell.parked) == 1
    inbox.put(7)
    assert reader.result() == [7]
    assert backlog.take_nowait() == [1, 2, 3]


def test_offer_waits_for_room_and_goes_on_when_half_is_taken() -> None:
    """One free place is not enough to wake the writer; half of the capacity is."""
    line: Handover[int] = Handover(capacity=4)
    line.put_all(range(4))
    writer = Spawned(lambda: line.offer(4))
    wait_until_waiting(writer.thread, "offer")
    assert line.take_nowait(1) == [0]
    assert writer.thread.is_alive()
    assert len(line) == 3
    assert line.take_nowait(1) == [1]
    writer.result()
    assert line.take_nowait() == [2, 3, 4]


def test_a_capacity_of_one_is_enough() -> None:
    """The smallest queue passes one item at a time."""
    line: Handover[int] = Handover(capacity=1)
    writer = Spawned(lambda: offer_all(line, range(5)))
    taken: list[int] = []
    while len(taken) < 5:
        batch = line.take_wait()
        assert len(batch) <= 1
        taken += batch
    writer.result()
    assert taken == [0, 1, 2, 3, 4]


def test_unbind_lets_waiting_writers_go_and_holds_none_again() -> None:
    """When the reader is gone its writers do not hang behind it."""
    line: Handover[int] = Handover(capacity=2)
    line.put_all([1, 2])
    writer = Spawned(lambda: line.offer(3))
    wait_until_waiting(writer.thread, "offer")
    line.unbind()
    writer.result()
    line.offer(4)
    line.wait_room()
    assert not line.is_full
    assert line.take_nowait() == [1, 2, 3, 4]


def test_a_bell_wakes_all_who_wait() -> None:
    """One ring, and every waiter looks again."""
    bell = Bell()
    waiters = [Spawned(lambda: bell.wait(bool)) for _ in range(3)]
    wait_until(lambda: len(bell.parked) == 3)
    bell.ring()
    for waiter in waiters:
        waiter.result()
    assert bell.parked == []


def test_a_bell_does_not_wait_for_what_is_there_already() -> None:
    """A change made before the wait is seen, and the waiter leaves nothing parked."""
    bell = Bell()
    bell.ring()
    bell.wait(lambda: True)
    bell.wait(lambda: False, 0.0)
    assert bell.parked == []
