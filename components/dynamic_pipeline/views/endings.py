"""How an attempt ended, in the words and numbers that all reports share."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import NamedTuple

from dynamic_pipeline.attempts import Outcome, Succeeded
from dynamic_pipeline.records import Record
from dynamic_pipeline.reports import CommandReport
from dynamic_pipeline.views.escape import escape

Describe = Callable[[Record, int, int], str]  # a record, its job and its slot → the command or the call


def described(describe: Describe, record: Record, number: int, slot: int) -> str:
    """What *describe* says of a record that has run, or that it cannot: a report is no reason to end the run."""
    try:
        return describe(record, number, slot)
    except Exception as error:
        return f"(it cannot be shown: {type(error).__name__})"


class Ending(NamedTuple):
    """Of one attempt. A call has neither an exit code nor a signal."""

    started_s: float  # seconds since the epoch
    elapsed_s: float
    exit: int | None
    signal: int | None
    reason: (
        str | None
    )  # None if it went well, else exit, signal, timeout, bad_record, exception or interrupted


def ending(outcome: Outcome, now_s: float) -> Ending:
    """How *outcome* came; *now_s* is the time since the epoch, for calls, which do not know when they began."""
    report = outcome.value
    elapsed_s = outcome.elapsed_s
    if not isinstance(report, CommandReport):
        return Ending(now_s - elapsed_s, elapsed_s, None, None, _reason(outcome))
    code = report.code
    if report.is_timeout:  # it may have answered TERM with an exit code of its own
        return Ending(report.started_s, elapsed_s, None, max(-code, 0) or signal.SIGTERM.value, "timeout")
    if code < 0:
        return Ending(report.started_s, elapsed_s, None, -code, _reason(outcome, "signal"))
    return Ending(report.started_s, elapsed_s, code, None, _reason(outcome, "exit"))


def _reason(outcome: Outcome, default: str = "exception") -> str | None:
    if isinstance(outcome, Succeeded):
        return None
    if outcome.is_interrupted:
        return "interrupted"
    if outcome.error.startswith("bad record: "):
        return "bad_record"
    return "timeout" if outcome.error.startswith("timeout after ") else default


def readable(text: str) -> str:
    """*text* as it is, or escaped if it could not be written as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return escape(text)
    return text


def tail_lines(data: bytes, most: int = 20, *, is_cut: bool = False) -> list[str]:
    """The last lines of what a command wrote, made safe to show; *is_cut*: the first one may lack its beginning."""
    lines = data.decode("utf-8", "surrogateescape").split("\n")
    if not lines[-1]:
        lines.pop()
    if is_cut and len(lines) > 1:
        del lines[0]
    return [shortened(line.removesuffix("\r").expandtabs(8)) for line in lines[-most:]]


def shortened(text: str, most: int = 200) -> str:
    """*text* on one line, cut at *most* characters."""
    return escape(text[:most]) + "…" * (len(text) > most)
