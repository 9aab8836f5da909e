"""The phases of a run, and what its end means for the exit code. Pure tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

OK, SOME_FAILED, USAGE, STOPPED, IO_FAULT, INTERNAL = 0, 1, 2, 3, 4, 70
LOCKED = 75  # EX_TEMPFAIL: another run holds the journal
READER_GONE = 141  # what a process killed by SIGPIPE leaves with


class Phase(Enum):
    """RUNNING → DRAINING → ABORTING; a later phase is never left for an earlier one. A run may end in each."""

    RUNNING = 1  # the producer offers, jobs run
    DRAINING = 2  # nothing new is accepted, accepted jobs finish
    ABORTING = 3  # nothing new is started, running jobs are ended


class Due(Enum):
    """What the time has come for."""

    REPORT = 1  # say how far the run is; in a drain, how much is left
    DRAIN_TIMEOUT = 2
    ABANDON = 3  # a job did not end within the patience of an abort


_NEVER = float("inf")
_LAST_WORDS_S = 0.3  # after the patience with jobs has ended, what writing down their end may take
_PROGRESS_S = 10.0  # between two reports of a run; a CI system ends a job that is silent for minutes
_REPORT_S = 0.5  # the seed's interval between two `draining backlog=N`


class Shutdown:
    """The phase of a run and what is due when. A machine without a clock: time comes as an argument."""

    def __init__(
        self, drain_timeout_s: float | None, abort_patience_s: float, *, drain_all: bool = True
    ) -> None:
        self._drain_timeout_s = drain_timeout_s
        self._abort_patience_s = abort_patience_s
        self.drain_all = drain_all  # a drain finishes all accepted jobs, not only those that have started
        self.phase = Phase.RUNNING
        self.on_abort: Callable[[], object] = bool  # called once, where the run is forced to stop
        self.signal: int | None = None  # the first one that went with a change of phase
        self._next_report_s = _NEVER
        self._deadline_s = _NEVER

    @property
    def next_due_s(self) -> float:
        return min(self._next_report_s, self._deadline_s)

    @property
    def is_forced(self) -> bool:
        return self.phase is Phase.ABORTING

    @property
    def may_start(self) -> bool:
        """Whether accepted jobs may still begin."""
        return self.phase is Phase.RUNNING or (self.phase is Phase.DRAINING and self.drain_all)

    def begin(self, now_s: float) -> None:
        """The run has started."""
        self._next_report_s = now_s + _PROGRESS_S

    def enter(self, phase: Phase, now_s: float, signal: int | None = None) -> bool:
        """Go on to *phase*; False if the run is there or further already."""
        if self.phase.value >= phase.value:
            return False
        self.phase = phase
        self.signal = signal if self.signal is None else self.signal
        self._next_report_s = self._deadline_s = _NEVER
        if phase is Phase.DRAINING:
            self._next_report_s = now_s + _REPORT_S
            if self._drain_timeout_s is not None:
                self._deadline_s = now_s + self._drain_timeout_s
        elif phase is Phase.ABORTING:
            self._deadline_s = now_s + self._abort_patience_s
            self.on_abort()
        return True

    def expect_end(self, now_s: float) -> None:
        """No job is left. If the run is forced, and its patience has ended, what remains gets a moment."""
        if self.is_forced and self._deadline_s == _NEVER:
            self._deadline_s = now_s + _LAST_WORDS_S

    def take_due(self, now_s: float) -> list[Due]:
        """What is due by *now_s*, once each."""
        due: list[Due] = []
        if now_s < self.next_due_s:
            return due
        if now_s >= self._next_report_s:
            self._next_report_s = now_s + (_PROGRESS_S if self.phase is Phase.RUNNING else _REPORT_S)
            due.append(Due.REPORT)
        if now_s >= self._deadline_s:
            self._deadline_s = _NEVER
            due.append(Due.DRAIN_TIMEOUT if self.phase is Phase.DRAINING else Due.ABANDON)
        return due


@dataclass(frozen=True)
class Ending:
    """All that the exit code depends on."""

    accepted: int = 0
    succeeded: int = 0
    failed: int = 0  # for good
    unfinished: int = 0
    failed_before: int = 0  # in earlier runs that this one resumes, and not tried again; those held included
    is_source_complete: bool = True  # read to its end, or endless and asked to stop
    signal: int | None = None  # the first signal that stopped it
    is_forced: bool = False
    io_fault: bool = False  # input not readable to its end, or output not writable
    reader_gone: bool = False
    crashed: bool = False


def exit_code(end: Ending) -> int:
    """The exit code of a run that ended so; priority 70 > 141, 4 > 128+n > 3 > 1 > 0.

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
    if work_left:
        return STOPPED  # by too many failures, or by the library's `drain` or `abort`: nobody sent a signal
    return SOME_FAILED if end.failed or end.failed_before else OK
