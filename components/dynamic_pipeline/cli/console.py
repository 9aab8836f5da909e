"""The standard streams of the program, whatever state they are in."""

from __future__ import annotations

import contextlib
import os
import sys

from dynamic_pipeline.lifecycle import USAGE
from dynamic_pipeline.sinks.log import LogTarget

STDOUT, STDERR = 1, 2


def open_standard_streams() -> None:
    """Make sure that 0, 1 and 2 are open, or the next file we open would become the jobs' stdout."""
    for fd in (0, STDOUT, STDERR):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is `fd`
            os.set_inheritable(fd, True)


def refuse(text: str, code: int = USAGE) -> int:
    write_stderr(text)
    return code


def with_hint(text: str, hint: str) -> str:
    return f"{text}\n  hint: {hint}" if hint else text


def write_stderr(text: str) -> None:
    with contextlib.suppress(OSError):  # nobody may be there to be told
        LogTarget("stderr", STDERR, getattr(sys.stderr, "encoding", None) or "utf-8").write(text + "\n")
