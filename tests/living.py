"""Which processes live: those that this one has started, and what they have."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from pathlib import Path

from dynamic_pipeline.journal.processes import look_up, own_processes

from tests.doubles import wait_until

_SERVERS = (b"multiprocessing.forkserver", b"multiprocessing.resource_tracker")  # the stdlib's, until we end


def children(parent: int | None = None) -> set[int]:
    """Descendants of this process, or of *parent*, but for the stdlib's two servers; zombies are not alive."""
    living = {process.pid: process.parent for process in own_processes()}
    found = _descendants(os.getpid() if parent is None else parent, living)
    ours = own_processes_of_the_stdlib(found, living)
    return found - ours


def family(parent: int) -> set[int]:
    """*parent* and its descendants, with the stdlib's two servers."""
    return {parent} | _descendants(parent, {process.pid: process.parent for process in own_processes()})


def fork_server(parent: int) -> int:
    """The process that those of *parent* are forked from."""
    living = {process.pid: process.parent for process in own_processes()}
    found = _descendants(parent, living)
    (server,) = (
        pid for pid in own_processes_of_the_stdlib(found, living) if _SERVERS[0] in command_line(pid)
    )
    return server


def _descendants(parent: int, living: dict[int, int]) -> set[int]:
    found: set[int] = set()
    front = {parent}
    while front:
        front = {pid for pid, above in living.items() if above in front}
        found |= front
    return found


def own_processes_of_the_stdlib(found: Collection[int], living: dict[int, int]) -> set[int]:
    """The fork server and the tracker: those of *found* that run them, and are not forks of the server."""
    servers = {pid for pid in found if any(name in command_line(pid) for name in _SERVERS)}
    return {pid for pid in servers if living[pid] not in servers}


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def lives(pid: int) -> bool:
    return look_up(pid) is not None


def wait_gone(living: Callable[[], Collection[int]]) -> None:
    """Until none of them is alive."""
    wait_until(lambda: not living())
