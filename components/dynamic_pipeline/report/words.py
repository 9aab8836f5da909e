"""The report's own words: verdict, times, durations, and the command that runs failures again. Pure."""

from __future__ import annotations

import os
import shlex
import signal
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from dynamic_pipeline.lifecycle import INTERNAL, IO_FAULT, OK, READER_GONE, SOME_FAILED, STOPPED
from dynamic_pipeline.templates import display

_US_PER_S = 1e6
_MINUTE_S, _HOUR_S = 60, 3600
_SIGNALS = 128


class Verdict(NamedTuple):
    """*kind* is good, bad or open; the *mark* says it without colour."""

    kind: str
    mark: str
    text: str


def verdict(state: str, code: int | None, succeeded: int, lost: int, left: int) -> Verdict:
    """*state* is running, killed or ended; *lost* jobs failed for good or are held, *left* are not over."""
    jobs = f"{lost} job{'s' * (lost != 1)}"
    rest = f"; {left} not run" if left else ""
    if state == "running":
        return Verdict(
            "open", "…", f"Running; {jobs} failed so far" if lost else "Running, nothing failed so far"
        )
    if state == "killed":
        return Verdict("bad", "✗", f"Killed before its end{rest}; --resume goes on")
    if code == OK:
        return Verdict("good", "✓", "Everything was done")
    if code is not None and code > _SIGNALS and code != READER_GONE:
        return Verdict("bad", "✗", f"Stopped by {_signal_name(code - _SIGNALS)}{rest}")
    reasons = {
        SOME_FAILED: f"{jobs} failed for good{', the others were done' if succeeded else ''}",
        STOPPED: "Stopped early, by --halt or the breaker",
        IO_FAULT: "An input, the journal or an output failed",
        INTERNAL: "Ended by an error of the program itself",
        READER_GONE: "The reader of the output went away",
    }
    return Verdict("bad", "✗", reasons.get(code or OK, f"Ended with exit code {code}") + rest)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def time_text(us: int) -> str:
    """With the offset of the zone."""
    return datetime.fromtimestamp(us / _US_PER_S).astimezone().strftime("%Y-%m-%d %H:%M:%S %z")


def duration_text(seconds: float | None) -> str:
    """`850 µs`, `12.3 ms`, `1.20 s`, `2 m 05 s`, `3 h 07 m`; a dash for None."""
    if seconds is None:
        return "–"
    if seconds < 0.001:  # noqa: PLR2004 - a millisecond
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 0.9995:  # noqa: PLR2004 - what is shown as less than a second
        return f"{seconds * 1e3:.3g} ms"
    if seconds < 59.95:  # noqa: PLR2004 - what is shown as less than a minute
        return f"{seconds:.3g} s"
    whole = round(seconds)
    if whole < _HOUR_S:
        return f"{whole // _MINUTE_S} m {whole % _MINUTE_S:02} s"
    return f"{whole // _HOUR_S} h {whole % _HOUR_S // _MINUTE_S:02} m"


def clock_text(seconds: float, step: float) -> str:
    """A mark on the time axis, `0:05`, `1:02:00`, or `0.25` where steps are parts of a second."""
    if step < 1:
        return f"{seconds:.{3 if step < 0.01 else 2 if step < 0.1 else 1}f}"  # noqa: PLR2004
    whole = round(seconds)
    minutes = f"{whole // _MINUTE_S % _MINUTE_S}:{whole % _MINUTE_S:02}"
    return f"{whole // _HOUR_S}:{minutes:0>5}" if whole >= _HOUR_S else minutes


def again_command(
    program: Sequence[str],
    parts: Mapping[str, str],
    config: Mapping[str, tuple[str, str]],
    inputs: str,
    kept: Sequence[str],
) -> str:
    """What runs the failed jobs of the work once more, to be pasted into a shell; empty where nobody can say.

    A pipe cannot be read again; then it takes the failed records, if the run has *kept* them in files.
    Settings that did not come from the defaults are given again, wherever they came from.
    """
    kind, text = parts.get("kind", ""), parts.get("text", "")
    is_pipe = "-" in inputs.split(" ")
    if (is_pipe and not kept) or kind not in {"command", "shell", "lines", "call"}:
        return ""
    # Inputs were written down for people, with blanks between them.
    names = kept if is_pipe else inputs.split(" ")
    words = [*program, "run", *(word for name in names for word in ("-i", name))]
    words += [] if is_pipe else ["--retry-failed"]
    if parts.get("separator") == "NUL":
        words.append("-0")
    elif parts.get("format", "lines") != "lines":
        words += ["--format", parts["format"]]
    for key, (value, origin) in config.items():
        if origin and origin != "embedded default" and value != "null":
            words += ["--set", f"{key}={value}"]
    if kind == "command":
        words += ["--", *shlex.split(text)]
    else:
        words += {"shell": ["-c", text], "lines": ["--lines"], "call": ["--call", text]}[kind]
    folder = parts.get("folder", "")
    before = f"cd {display([os.fsencode(folder)])} && " if folder else ""
    return before + display([os.fsencode(word) for word in words])
