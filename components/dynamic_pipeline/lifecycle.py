"""The phases of a run, and what its end means for the exit code. Pure tables."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

OK, SOME_FAILED, USAGE, IO_FAULT, INTERNAL = 0, 1, 2, 4, 70
READER_GONE = 141  # what a process killed by SIGPIPE leaves with


class Phase(Enum):
    """RUNNING → DRAINING → ABORTING → FINISHED; a later phase is never left for an earlier one."""

    RUNNING = 1  # the producer offers, jobs run
    DRAINING = 2  # nothing new is accepted, accepted jobs finish
    ABORTING = 3  # nothing new is started, running jobs are ended
    FINISHED = 4  # no accepted job is left

    def then(self, other: Phase) -> Phase:
        """The phase after *other* was asked for: the later of the two."""
        return max(self, other, key=lambda phase: phase.value)


@dataclass(frozen=True)
class Ending:
    """All that the exit code depends on."""

    accepted: int = 0
    succeeded: int = 0
    failed: int = 0  # for good
    unfinished: int = 0
    is_source_complete: bool = True  # read to its end, or endless and asked to stop
    signal: int | None = None  # the first signal that stopped it
    is_forced: bool = False
    io_fault: bool = False  # input not readable to its end, or output not writable
    reader_gone: bool = False
    crashed: bool = False


def exit_code(end: Ending) -> int:
    """The exit code of a run that ended so; priority 70 > 141, 4 > 128+n > 1 > 0.

    0 implies that every record and every accepted job succeeded.
    """
    if end.crashed or end.accepted != end.succeeded + end.failed + end.unfinished:
        return INTERNAL
    if end.reader_gone:
        return READER_GONE
    if end.io_fault:
        return IO_FAULT
    work_left = end.unfinished > 0 or not end.is_source_complete
    if end.signal is not None and (work_left or end.is_forced):
        return 128 + end.signal
    if end.failed:
        return SOME_FAILED
    return INTERNAL if work_left else OK
