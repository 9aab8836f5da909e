"""What an attempt brings back, whether it went well or not."""

from __future__ import annotations

from typing import NamedTuple

from dynamic_pipeline.spool import Spool

TAIL_BYTES = 4096  # of a failed command's output, for those who ask what went wrong


class CommandReport(NamedTuple):
    """How one attempt at a command went: the value of its outcome."""

    stdout: Spool  # sealed
    stderr: Spool
    slot: int
    started_s: float  # seconds since the epoch
    code: int  # the exit code, or minus the signal that ended it; 126 or 127 if it could not be started
    is_timeout: bool = False  # it took too long, and was ended by that signal
    has_left_some: bool = False  # it started processes that run on

    def tail(self) -> bytes:
        """The end of what it wrote to stderr, or to stdout if that is empty; as long as nobody has discarded it."""
        try:
            return (self.stderr if self.stderr.size else self.stdout).tail(TAIL_BYTES)
        except OSError:  # somebody has removed the file: whoever needs all of it tells
            return b""


class LostOutput(NamedTuple):
    """There is no place for the output of a command any more: the value of its outcome."""

    text: str  # what has gone, for people


class CallTrace(NamedTuple):
    """Where a call raised: the value of its outcome."""

    text: str

    def tail(self) -> bytes:
        """The end of it."""
        return self.text.encode("utf-8", "backslashreplace")[-TAIL_BYTES:]


class CommandTail(NamedTuple):
    """All that is kept of a report, or of a trace, for the end of the run."""

    text: bytes


class CallReport(NamedTuple):
    """What a call returned, where that is recorded: the value of its outcome."""

    json: str
