"""How threads hand things over: a deque whose reader is woken only when it is parked.

A wake-up costs more than all else that happens to a small job, and `queue.Queue` makes one for each
item. Here an item costs an append; the reader takes all that waits in one go. Measured on no-op jobs
this is what makes the line three to four times as fast as queues (`nox -s bench`).
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

_T = TypeVar("_T")


class Bell:
    """Where threads wait for something to change. `ring` never blocks, and costs nothing when nobody waits.

    Guarantee: a change made before `ring` is seen by a waiter, whenever it began to wait.
    """

    __slots__ = ("parked",)

    def __init__(self) -> None:
        self.parked: list[Any] = []  # a locked lock per waiting thread; whoever pops one must release it

    def ring(self) -> None:
        """Wake all who wait. Any thread may call it."""
        while self.parked:
            try:
                self.parked.pop().release()
            except IndexError:  # another ringer was faster
                return

    def wait(self, is_ready: Callable[[], object], timeout_s: float | None = None) -> None:
        """Block until the bell rings or *timeout_s* seconds have passed; at once if *is_ready()*.

        It may also return early: the caller looks again, in a loop.
        """
        lock = threading.Lock()
        lock.acquire()
        # 1. we park; 2. we look; 3. we sleep. A change between 1 and 3 rings our lock; one before 1
        # is seen in 2.
        self.parked.append(lock)
        timeout_s = -1 if timeout_s is None else min(max(0.0, timeout_s), threading.TIMEOUT_MAX)
        if not is_ready() and lock.acquire(timeout=timeout_s):
            return
        try:
            self.parked.remove(lock)
        except ValueError:
            lock.acquire()  # a ringer has popped it and is about to release it


class Handover(Generic[_T]):
    """A queue between threads. One thread takes; any thread puts.

    With a *capacity*, `offer` blocks while that many wait, and goes on when half of them have been taken:
    letting the writer go at every free place would cost a wake-up per item.
    """

    def __init__(
        self, bell: Bell | None = None, *, capacity: int | None = None, room_bell: Bell | None = None
    ) -> None:
        self._items: deque[_T] = deque()
        self._bell = bell or Bell()  # the reader's; several queues may share it
        self._room = room_bell or Bell()  # the writer's, where it waits for room
        self._is_room_wanted = False  # set by the writer: it was told of no room, and has not been since
        self.put = self._make_put()
        self.capacity = capacity
        self.is_wanted = True  # set by the reader: False while it could not use an item anyway
        self._low_water = (capacity or 0) // 2

    def _make_put(self) -> Callable[[_T], None]:
        # A closure: it is called twice per job, and costs half of what a method does.
        append, parked, ring = self._items.append, self._bell.parked, self._bell.ring

        def put(item: _T) -> None:
            """Add *item*; never blocks, whatever the capacity."""
            append(item)
            if parked and self.is_wanted:
                ring()

        return put

    def __len__(self) -> int:
        return len(self._items)

    def put_all(self, items: Iterable[_T]) -> None:
        """Add *items* with one wake-up; never blocks."""
        self._items.extend(items)
        if self._bell.parked and self.is_wanted:
            self._bell.ring()

    @property
    def is_full(self) -> bool:
        capacity = self.capacity  # once: `unbind` takes it away from another thread
        return capacity is not None and len(self._items) >= capacity

    def has_room(self) -> bool:
        """False from the moment that the queue is full until half of it has been taken; the writer asks.

        After a False the bell for room rings as soon as the answer has changed.
        """
        self._is_room_wanted = len(self._items) > self._low_water if self._is_room_wanted else self.is_full
        return not self._is_room_wanted

    def wait_room(self) -> None:
        """Block while there is no room: this is the back-pressure."""
        while not self.has_room():
            self._room.wait(self.has_room)

    def unbind(self) -> None:
        """Let nobody wait for room again: the reader is gone, and its writers must not hang behind it."""
        self.capacity = None
        self._low_water = sys.maxsize
        self._room.ring()

    def offer(self, item: _T) -> None:
        """Add *item*, waiting for room. There is no timeout: the reader takes until the writer has ended."""
        if self.is_full:
            self.wait_room()
        self._items.append(item)
        if self._bell.parked and self.is_wanted:
            self._bell.ring()

    def take_nowait(self, most: int | None = None) -> list[_T]:
        """Take what waits, oldest first, *most* at the most. Only the reader calls this."""
        items = self._items
        count = len(items) if most is None or most > len(items) else most
        taken = [items.popleft() for _ in range(count)]
        if self._is_room_wanted and self._room.parked and len(items) <= self._low_water:
            self._room.ring()
        return taken

    def take_wait(self, timeout_s: float | None = None, *, or_ready: Callable[[], object] = bool) -> list[_T]:
        """Take all that waits; while nothing does, wait for the bell, *timeout_s* seconds or *or_ready()*."""
        if not self._items:
            self._bell.wait(lambda: self._items or or_ready(), timeout_s)
        return self.take_nowait()
