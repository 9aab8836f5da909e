"""What an attempt at a command brings back, whether it went well or not."""

from __future__ import annotations

from typing import NamedTuple

from dynamic_pipeline.spool import Spool


class CommandReport(NamedTuple):
    """How one attempt at a command went: the value of its outcome."""

    stdout: Spool  # sealed
    stderr: Spool
    slot: int
    started_s: float  # seconds since the epoch
    code: int  # the exit code, or minus the signal that ended it; 126 or 127 if it could not be started
    is_timeout: bool = False  # it took too long, and was ended by that signal
    has_left_some: bool = False  # it started processes that run on
