"""Numbers for what runs at the same time."""

from __future__ import annotations

from dynamic_pipeline.slots import Slots

from tests.doubles import race


def test_the_lowest_free_number_is_given() -> None:
    """Numbers stay small, so that they can stand for a thing of which there are few."""
    slots = Slots()
    assert [slots.take() for _ in range(3)] == [1, 2, 3]
    slots.give_back(3)
    slots.give_back(1)
    assert [slots.take() for _ in range(3)] == [1, 3, 4]


def test_no_number_is_given_twice() -> None:
    """Two threads that take at once get different ones."""
    for slots, (one, other) in race(300, Slots, Slots.take, Slots.take):
        assert {one, other} == {1, 2}
        assert slots.take() == 3
