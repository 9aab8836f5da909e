"""The last wait of a run: all jobs have ended, and the collector writes what it was told."""

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
    """Wait until *is_written*; a message must come to *inbox* when it has become so.

    The reader of our output may have stalled, so signals and the drain timeout count on: False when an
    abort has waited long enough.
    """
    shutdown.expect_end(now())
    while not is_written():
        for message in inbox.take_wait(shutdown.next_due_s - now()):
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
