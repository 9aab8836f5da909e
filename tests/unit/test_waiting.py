"""The heap of retries that wait for their time."""

from __future__ import annotations

from dynamic_pipeline.attempts import Attempt
from dynamic_pipeline.jobs import Job
from dynamic_pipeline.waiting import WaitingRetries
from hypothesis import given
from hypothesis import strategies as st


def attempt(number: int) -> Attempt:
    return Attempt(Job(number, {"not": "comparable"}), 2)


def test_nothing_is_due_while_nothing_waits() -> None:
    """The next due time of an empty room is never."""
    waiting = WaitingRetries()
    assert len(waiting) == 0
    assert waiting.next_due_s() == float("inf")


@given(st.lists(st.sampled_from([0.0, 1.0, 2.5]), min_size=1, max_size=20))
def test_retries_come_back_in_the_order_in_which_they_are_due(due: list[float]) -> None:
    """By due time, and by arrival when due together; payloads are never compared."""
    waiting = WaitingRetries()
    for number, due_s in enumerate(due):
        waiting.push(due_s, attempt(number))
    assert waiting.next_due_s() == min(due)
    assert len(waiting) == len(due)
    popped = [taken.job.id for _ in due for taken in waiting.take_due(9.0, 1)]
    assert popped == sorted(range(len(due)), key=lambda number: (due[number], number))
    assert len(waiting) == 0


def test_take_all_empties_the_room() -> None:
    """Those that are due first come first."""
    waiting = WaitingRetries()
    for number, due_s in enumerate([3.0, 1.0, 2.0]):
        waiting.push(due_s, attempt(number))
    assert [found.job.id for found in waiting.take_all()] == [1, 2, 0]
    assert waiting.take_all() == []
    assert waiting.next_due_s() == float("inf")


def test_what_is_due_is_delayed_no_more() -> None:
    """Taken or not: a worker more would help it now."""
    waiting = WaitingRetries()
    for number, due_s in enumerate([3.0, 1.0, 2.0]):
        waiting.push(due_s, attempt(number))
    taken = [found.job.id for found in waiting.take_due(2.5, 1)]

    assert ([1], 2, 1, 3.0) == (taken, len(waiting), waiting.delayed, waiting.next_due_s())
    assert [2] == [found.job.id for found in waiting.take_due(2.5, 9)]


def test_released_all_are_due_in_their_order() -> None:
    """A drain waits for no delay."""
    waiting = WaitingRetries()
    for number, due_s in enumerate([3.0, 1.0, 2.0]):
        waiting.push(due_s, attempt(number))
    waiting.take_due(1.0, 0)
    waiting.release()

    assert (0, float("inf")) == (waiting.delayed, waiting.next_due_s())
    assert [1, 2, 0] == [found.job.id for found in waiting.take_due(0.0, 9)]
