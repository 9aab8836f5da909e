"""A finished job → a row of the job log, in GNU parallel's nine columns."""

from __future__ import annotations

import os

from dynamic_pipeline.attempts import Outcome, Succeeded
from dynamic_pipeline.reports import CommandReport
from dynamic_pipeline.views.endings import ending

HEADER = b"Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n"


def joblog_row(job_id: int, outcome: Outcome, command: str, now_s: float) -> bytes:
    """The row of a job whose last attempt ended as *outcome*; *command* is on one line.

    As GNU parallel has it: killed by a signal is exit value 0 and the signal, too late is -1 and the signal.
    """
    end = ending(outcome, now_s)
    if isinstance(outcome.value, CommandReport):
        received = outcome.value.stdout.size + outcome.value.stderr.size
        code = end.exit if end.exit is not None else -1 if end.reason == "timeout" else 0
    else:
        received, code = 0, 0 if isinstance(outcome, Succeeded) else 1
    numbers = (
        f"{job_id}\t:\t{end.started_s:.3f}\t{end.elapsed_s:10.3f}\t0\t{received}\t{code}\t{end.signal or 0}\t"
    )
    return numbers.encode() + _as_bytes(command) + b"\n"


def _as_bytes(text: str) -> bytes:
    """*text* as the system has it; what its encoding cannot say is escaped."""
    try:
        return os.fsencode(text)
    except UnicodeEncodeError:
        return text.encode("ascii", "backslashreplace")
