"""Ends the commands of a cluster's worker that was killed: its jobs begin again elsewhere, and none may run twice at once.

A program of its own, started by the worker, with nothing of this package in it: it hears of commands on standard
input, `+PID START` and `-PID`, and kills what is left of their groups when that ends.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading


class Reaper:
    """One for all workers' threads of a process. Any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._program: subprocess.Popen[bytes] | None = None

    def note(self, pid: int) -> None:
        """A command runs, the leader of a group."""
        self._tell(f"+{pid} {_start_of(pid)}\n")

    def forget(self, pid: int) -> None:
        """It is over."""
        self._tell(f"-{pid}\n")

    def _tell(self, line: str) -> None:
        with self._lock, contextlib.suppress(OSError):
            if self._program is None or self._program.poll() is not None:
                self._program = subprocess.Popen(
                    [sys.executable, "-I", "-S", __file__],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    start_new_session=True,
                )
            assert self._program.stdin is not None, "it was asked for"
            os.write(self._program.stdin.fileno(), line.encode())


def _start_of(pid: int) -> str:
    """When the process began, in clock ticks since boot: with its number that makes it unique. Empty if nobody knows."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - `pathlib` costs more than the rest of the program
            return file.read().rpartition(b")")[2].split()[19].decode()
    except OSError:
        return ""


def main() -> None:
    """The program."""
    running: dict[str, str] = {}
    for line in sys.stdin:
        pid, _, start = line[1:].strip().partition(" ")
        if line.startswith("+"):
            running[pid] = start
        else:
            running.pop(pid, None)
    for pid, start in running.items():
        if _start_of(int(pid)) == start:
            with contextlib.suppress(OSError):
                os.killpg(int(pid), signal.SIGKILL)


if __name__ == "__main__":
    main()
