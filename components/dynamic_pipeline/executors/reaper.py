"""Ends the commands of a cluster's worker that was killed: its jobs begin again elsewhere, and should not run twice at once.

It takes some hundredths of a second, in which a job may have begun again.

A program of its own, started by the worker, with nothing of this package in it. It hears on standard input, a line of
JSON each time, what begins and ends; when that input ends, with the worker, it kills the groups and removes the folders
that are left.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

_LOOKS, _LOOK_S = 3, 0.02


class Reaper:
    """One for all threads of a process. Any of them may call it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._program: subprocess.Popen[bytes] | None = None

    def note(self, pid: int) -> None:
        """A command runs, the leader of a group."""
        self._tell("runs", pid, _start_of(pid))

    def forget(self, pid: int) -> None:
        """It is over."""
        self._tell("is over", pid)

    def keep(self, folder: str) -> None:
        """Its outputs are in this folder."""
        self._tell("made", folder)

    def drop(self, folder: str) -> None:
        """The folder is removed."""
        self._tell("removed", folder)

    def _tell(self, *what: object) -> None:
        with self._lock, contextlib.suppress(OSError):
            if self._program is None or self._program.poll() is not None:
                self._program = subprocess.Popen(
                    [sys.executable, "-I", "-S", __file__],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    start_new_session=True,
                )
            assert self._program.stdin is not None, "it was asked for"
            os.write(self._program.stdin.fileno(), json.dumps(what).encode() + b"\n")


def _start_of(pid: int) -> str:
    """When the process began, in clock ticks since boot: with its number that makes it unique. Empty if nobody knows."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - `pathlib` costs more than the rest of the program
            return file.read().rpartition(b")")[2].split()[19].decode()
    except OSError:
        return ""


def _kill_group(pid: int) -> None:
    with contextlib.suppress(OSError):
        os.killpg(os.getpgid(pid), signal.SIGKILL)


def _writers(folders: set[str]) -> list[int]:
    """Processes whose standard output or error is a file in one of them; none where the system does not tell."""
    found = []
    with contextlib.suppress(OSError):
        for name in filter(str.isdigit, os.listdir("/proc") if folders else ()):  # noqa: PTH208 - see above
            for fd in (1, 2):
                with contextlib.suppress(OSError):  # another user's, or over
                    if os.path.dirname(os.readlink(f"/proc/{name}/fd/{fd}")) in folders:  # noqa: PTH115, PTH120 - same
                        found.append(int(name))
    return found


def main() -> None:
    """The program."""
    running: dict[int, str] = {}
    folders: set[str] = set()
    for line in sys.stdin:
        match json.loads(line):
            case ["runs", pid, start]:
                running[pid] = start
            case ["is over", pid]:
                running.pop(pid, None)
            case ["made", folder]:
                folders.add(folder)
            case ["removed", folder]:
                folders.discard(folder)
    _end(running, folders)


def _end(running: dict[int, str], folders: set[str]) -> None:
    for pid, start in running.items():
        if _start_of(pid) == start:
            _kill_group(pid)
    for _ in range(_LOOKS):  # one that had just been started is not known by its number yet
        for pid in _writers(folders):
            _kill_group(pid)
        time.sleep(_LOOK_S)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
