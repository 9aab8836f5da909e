"""The races whose stories are told in `handover.py`: no lost wake-up, no lost item, no writer left waiting."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from dynamic_pipeline.handover import Bell, Handover

from tests.doubles import Spawned, offer_all, race

pytestmark = pytest.mark.usefixtures("switch_often")
ROUNDS = [8000, pytest.param(80_000, marks=[pytest.mark.soak, pytest.mark.timeout(900)])]
ITEMS = [20_000, pytest.param(400_000, marks=[pytest.mark.soak, pytest.mark.timeout(900)])]


class _Rung:
    """A change, and the bell that tells of it."""

    def __init__(self) -> None:
        self.bell = Bell()
        self.is_set = False

    def ring(self) -> None:
        self.is_set = True
        self.bell.ring()

    def wait(self) -> bool:
        """Whether the one wait that is needed saw the change."""
        while not self.is_set:
            self.bell.wait(lambda: self.is_set)
        return self.is_set


@pytest.mark.parametrize("rounds", ROUNDS)
def test_no_ring_is_lost(rounds: int) -> None:
    """A change made before the ring is seen, whenever the waiter began to wait; nothing stays parked."""
    for rung, (_, seen) in race(rounds, _Rung, _Rung.ring, _Rung.wait):
        assert seen
        assert rung.bell.parked == []


@pytest.mark.parametrize("rounds", ROUNDS)
def test_two_ringers_and_two_waiters_do_not_get_in_each_others_way(rounds: int) -> None:
    """Ringers that pop the same bell, and waiters that leave while they are rung for."""
    for rung, _ in race(rounds // 2, _Rung, _Rung.ring, _Rung.ring, _Rung.wait, _Rung.wait):
        assert rung.bell.parked == []


@pytest.mark.parametrize("rounds", ROUNDS)
def test_ringers_share_the_sleepers_between_them(rounds: int) -> None:
    """Each of many sleepers is woken by exactly one of two ringers, and no ringer fails over the last."""

    class Crowd:
        def __init__(self) -> None:
            self.bell = Bell()
            self.locks = [threading.Lock() for _ in range(5)]
            for lock in self.locks:
                lock.acquire()
            self.bell.parked += self.locks

        def ring(self) -> None:
            self.bell.ring()  # a lock released twice raises

    for crowd, _ in race(rounds // 2, Crowd, Crowd.ring, Crowd.ring, Crowd.ring):
        assert crowd.bell.parked == []
        assert not any(lock.locked() for lock in crowd.locks)


@pytest.mark.parametrize("rounds", ROUNDS)
def test_a_wait_that_times_out_while_it_is_rung_for_leaves_nothing_parked(rounds: int) -> None:
    """The ringer may have popped a lock of one who gave up: it is released and forgotten."""

    def give_up(rung: _Rung) -> None:
        rung.bell.wait(lambda: False, 0.00002)

    for rung, _ in race(rounds, _Rung, _Rung.ring, give_up):
        assert rung.bell.parked == []


@pytest.mark.parametrize("count", ITEMS)
def test_all_items_of_many_writers_arrive_once_in_the_order_of_each(count: int) -> None:
    """Three writers, each in its own way, one reader that parks whenever it finds nothing."""
    line: Handover[tuple[int, int]] = Handover()

    def read() -> list[tuple[int, int]]:
        taken: list[tuple[int, int]] = []
        while len(taken) < 3 * count:
            taken += line.take_wait()
        return taken

    def put_all() -> None:
        for number in range(0, count, 10):
            line.put_all((1, n) for n in range(number, number + 10))

    reader = Spawned(read)

    def put() -> None:
        for number in range(count):
            line.put((0, number))

    offers = ((2, number) for number in range(count))
    writers = [Spawned(put), Spawned(put_all), Spawned(lambda: offer_all(line, offers))]
    for writer in writers:
        writer.result()
    taken = reader.result()
    for writer_number in range(3):
        assert [number for who, number in taken if who == writer_number] == list(range(count))


@pytest.mark.parametrize("count", ITEMS)
@pytest.mark.parametrize("capacity", [1, 2, 5])
def test_a_writer_that_waits_for_room_is_always_let_go(count: int, capacity: int) -> None:
    """Small queue, fast reader: `offer` never sleeps through its room, and the queue is never over-full."""
    line: Handover[int] = Handover(capacity=capacity)
    longest = 0

    def read() -> list[int]:
        nonlocal longest
        taken: list[int] = []
        while len(taken) < count:
            batch = line.take_wait()
            longest = max(longest, len(batch))
            taken += batch
        return taken

    reader = Spawned(read)
    writer = Spawned(lambda: offer_all(line, range(count)))
    writer.result()
    assert reader.result() == list(range(count))
    assert longest <= capacity


@pytest.mark.parametrize("count", ITEMS)
def test_a_reader_of_two_queues_misses_neither(count: int) -> None:
    """As the orchestrator reads: one bell, and `is_wanted` switched with the room that there is."""
    bell = Bell()
    inbox: Handover[int] = Handover(bell)
    backlog: Handover[int] = Handover(bell, capacity=3)
    seen: list[int] = []
    done: list[int] = []
    messages: Handover[int] = Handover()  # to the worker

    def read() -> None:
        in_flight = 0
        while len(done) < count:
            backlog.is_wanted = in_flight < 2
            batch = inbox.take_wait(or_ready=lambda: backlog.is_wanted and len(backlog) > 0)
            done.extend(batch)
            in_flight -= len(batch)
            fresh = backlog.take_nowait(2 - in_flight)
            in_flight += len(fresh)
            seen.extend(fresh)
            messages.put_all(fresh)

    def work() -> None:
        ended = 0
        while ended < count:
            for item in messages.take_wait():
                ended += 1
                inbox.put(item)

    threads = [Spawned(read), Spawned(work), Spawned(lambda: offer_all(backlog, range(count)))]
    for thread in threads:
        thread.result()
    assert seen == done == list(range(count))


@pytest.mark.parametrize("rounds", ROUNDS)
def test_unbind_lets_go_whoever_waits_or_is_about_to(rounds: int) -> None:
    """The reader dies while the writer decides to wait."""

    def full() -> Handover[int]:
        line: Handover[int] = Handover(capacity=2)
        line.put_all([1, 2])
        return line

    def offer(line: Handover[int]) -> Any:
        line.offer(3)
        return len(line)

    for line, (_, length) in race(rounds, full, Handover.unbind, offer):
        assert length == 3
        assert line.take_nowait() == [1, 2, 3]


def test_a_wait_ends_by_itself_after_its_time() -> None:
    """With nobody to ring."""
    bell = Bell()
    waiter = Spawned(lambda: bell.wait(lambda: False, 0.001))
    waiter.result()
    assert bell.parked == []
