"""Commands that outlived the killed run that had started them: found, and ended or awaited before jobs run again.

Without this a job could run twice at the same time.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable, Collection, Sequence
from typing import Literal, NamedTuple

from dynamic_pipeline.journal.processes import Process, boot_id, environment, look_up, own_processes
from dynamic_pipeline.journal.recovery import Orphan

OrphanPolicy = Literal["kill", "wait", "ignore"]
MARK = "PIPELINE_RUN_ID"  # in the environment of every command, and of all that it starts
_POLL_S = 0.05
_ROUNDS = 5  # a process may start another one while it is being ended


class Dealt(NamedTuple):
    """What became of them."""

    ended: int  # by us
    awaited: int  # they ended by themselves
    left: tuple[int, ...]  # pids of those that run on


def find(recorded: Collection[Orphan], run_uuids: Collection[str]) -> list[Process]:
    """Living processes of the dead runs *run_uuids*: those on record, their sessions, and those with the mark.

    Never a process that only has the number of one on record: the start tick and the boot must agree. Never
    this process or one above it. Where the system does not tell of its processes, none is found.
    """
    here = boot_id()
    leaders = {(orphan.pid, orphan.pid_start) for orphan in recorded if here and orphan.boot_id == here}
    living = list(own_processes())
    numbers = {process.pid for process in living}
    for pid, _ in leaders:  # also those that are another user's by now
        if pid not in numbers and (found := look_up(pid)) is not None:
            living.append(found)
    sessions = {process.pid for process in living if (process.pid, process.start) in leaders}
    marks = {f"{MARK}={uuid}".encode() for uuid in run_uuids}
    spared = _own_line(living)
    return [
        process
        for process in living
        if process.pid not in spared
        and (
            (process.pid, process.start) in leaders
            or process.session in sessions
            or not marks.isdisjoint(environment(process.pid))
        )
    ]


def deal(
    recorded: Collection[Orphan],
    run_uuids: Collection[str],
    policy: OrphanPolicy,
    *,
    grace_s: float = 2.0,
    should_stop: Callable[[], object] = bool,
    on_wait: Callable[[list[int]], object] = bool,
) -> Dealt:
    """Find them, then: *kill* sends TERM, waits *grace_s* seconds and sends KILL; *wait* until they have ended.

    Blocks. *should_stop* ends the waiting early. *on_wait* hears of their numbers before a wait that may be long.
    *ignore* only counts them.
    """
    found = find(recorded, run_uuids)
    if policy == "ignore" or not found:
        return Dealt(0, 0, tuple(process.pid for process in found))
    if policy == "wait":
        on_wait([process.pid for process in found])
    handled: set[Process] = set()
    for round_number in range(_ROUNDS):
        handled |= {process._replace(session=0, parent=0) for process in found}
        if policy == "kill":
            # The first time politely: later ones have seen their parents go.
            _end(found, grace_s if round_number == 0 else 0.0, should_stop)
        else:
            _await(found, float("inf"), should_stop)
        found = find(recorded, run_uuids)
        if not found or should_stop():
            break
    left = tuple(process.pid for process in found)
    gone = len(handled) - len(left)
    return Dealt(gone, 0, left) if policy == "kill" else Dealt(0, gone, left)


def _own_line(living: Sequence[Process]) -> set[int]:
    """This process, and those above it: a run may itself be a command of another one."""
    parents = {process.pid: process.parent for process in living}
    line, pid = {os.getpid(), os.getppid()}, os.getppid()
    while (pid := parents.get(pid, 0)) and pid not in line:
        line.add(pid)
    return line


def _end(found: Sequence[Process], grace_s: float, should_stop: Callable[[], object]) -> None:
    if grace_s > 0:
        for process in found:
            _send(process, signal.SIGTERM)
        _await(found, grace_s, should_stop)
    for process in found:
        _send(process, signal.SIGKILL)
    _await(found, max(grace_s, 1.0), bool)  # until the kernel has taken them away


def _send(process: Process, signum: signal.Signals) -> None:
    """To exactly this process: its number may be a stranger's by now."""
    with contextlib.suppress(OSError):
        fd = os.pidfd_open(process.pid)
        try:
            if _lives(process):  # looked at while the descriptor keeps the number from meaning another one
                signal.pidfd_send_signal(fd, signum)
        finally:
            os.close(fd)


def _await(found: Sequence[Process], most_s: float, should_stop: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + most_s
    for process in found:
        with contextlib.suppress(OSError):
            fd = os.pidfd_open(process.pid)
            try:
                poller = select.poll()
                poller.register(fd, select.POLLIN)
                while _lives(process) and time.monotonic() < deadline_s and not should_stop():
                    poller.poll(_POLL_S * 1000)
            finally:
                os.close(fd)


def _lives(process: Process) -> bool:
    found = look_up(process.pid)
    return found is not None and found.start == process.start
