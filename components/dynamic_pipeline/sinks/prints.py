"""What Python calls print goes straight to stdout; here a reader of it that went away is noticed."""

from __future__ import annotations

import select
from collections.abc import Sequence

from dynamic_pipeline.errors import OutputError
from dynamic_pipeline.events import Event, JobFailed, JobRetrying
from dynamic_pipeline.stats import Stats

_STDOUT = 1


class PrintsSink:
    """Ends the run when a call failed because nobody reads stdout any more: all that follow would fail too."""

    def emit(self, events: Sequence[Event], stats: Stats) -> None:  # noqa: ARG002 - a sink's signature
        for event in events:
            if (
                isinstance(event, (JobFailed, JobRetrying))
                and event.outcome.error.startswith("BrokenPipeError")  # maybe of a pipe of its own
                and _reader_has_gone(_STDOUT)
            ):
                raise OutputError("the reader of stdout has gone", reader_gone=True)

    def close(self) -> None:
        pass


def _reader_has_gone(fd: int) -> bool:
    poller = select.poll()
    poller.register(fd, 0)  # an error is told without being asked for
    return any(what & select.POLLERR for _, what in poller.poll(0))
