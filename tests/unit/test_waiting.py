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
    popped = [waiting.pop().job.id for _ in due]
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
