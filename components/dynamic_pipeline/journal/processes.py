"""What the system tells of its processes, as far as a number alone cannot: when they began, and their marks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_PROC = Path("/proc")
_START, _SESSION, _PARENT, _STATE = 19, 3, 1, 0  # fields after the name in /proc/PID/stat


class Process(NamedTuple):
    """One that lives. The pair makes it unique until the next boot; the number alone is given again."""

    pid: int
    start: int  # clock ticks since boot
    session: int = 0
    parent: int = 0


def boot_id() -> str:
    """Another one after each boot; empty where the system does not tell."""
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def look_up(pid: int) -> Process | None:
    """The process with this number, if it lives and the system tells; one that only waits to be reaped is over."""
    try:
        stat = (_PROC / str(pid) / "stat").read_bytes()
    except OSError:
        return None
    fields = stat.rpartition(b")")[2].split()
    if fields[_STATE] in (b"Z", b"X"):
        return None
    return Process(pid, int(fields[_START]), int(fields[_SESSION]), int(fields[_PARENT]))


def start_tick(pid: int) -> int | None:
    """When the process with this number began, in clock ticks since boot; None if nobody knows."""
    found = look_up(pid)
    return found and found.start


def own_processes() -> Iterator[Process]:
    """All living processes of this user that can be looked at; for root those of all users."""
    try:
        names = [entry.name for entry in os.scandir(_PROC) if entry.name.isdigit()]
    except OSError:
        return
    uid = os.geteuid()
    for name in names:
        try:
            if uid and (_PROC / name).stat().st_uid != uid:
                continue
        except OSError:
            continue  # it has just ended
        if (found := look_up(int(name))) is not None:
            yield found


def environment(pid: int) -> frozenset[bytes]:
    """`NAME=value` of the process as it was started; empty if it may not be read."""
    try:
        return frozenset((_PROC / str(pid) / "environ").read_bytes().split(b"\0"))
    except OSError:
        return frozenset()
