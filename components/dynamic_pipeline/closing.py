"""The last waits of a run: all jobs have ended, and the collector writes what it was told."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from dynamic_pipeline.handover import Handover
from dynamic_pipeline.inbox import Abort, Drain, Message
from dynamic_pipeline.lifecycle import Due, Phase, Shutdown


def wait_written(
    is_written: Callable[[], object],
    inbox: Handover[Message],
    shutdown: Shutdown,
    now: Callable[[], float] = monotonic,
) -> bool:
    """Wait until *is_written*, as `wait_until` does; a forced run gets a moment more."""
    shutdown.expect_end(now())
    return wait_until(is_written, inbox, shutdown, now)


def wait_until(
    is_so: Callable[[], object],
    inbox: Handover[Message],
    shutdown: Shutdown,
    now: Callable[[], float] = monotonic,
    patience_s: float = float("inf"),
) -> bool:
    """Wait until *is_so*; a message must come to *inbox* when it has become so.

    Signals and the drain timeout count on: False when an abort has waited long enough, or *patience_s*
    seconds have passed.
    """
    deadline_s = now() + patience_s
    while not is_so():
        if now() >= deadline_s:
            return False
        for message in inbox.take_wait(min(shutdown.next_due_s, deadline_s) - now()):
            if isinstance(message, Drain):
                shutdown.enter(Phase.DRAINING, now(), message.signal)
            elif isinstance(message, Abort):
                shutdown.enter(Phase.ABORTING, now(), message.signal)
        for due in shutdown.take_due(now()):
            if due is Due.DRAIN_TIMEOUT:
                shutdown.enter(Phase.ABORTING, now())
            elif due is Due.ABANDON:
                return False
    return True
