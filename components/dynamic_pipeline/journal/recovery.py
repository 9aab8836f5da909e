"""What a killed run has left open, and how it is closed."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from typing import NamedTuple

from dynamic_pipeline.journal.held import Caution, caution
from dynamic_pipeline.journal.numbers import seq_of
from dynamic_pipeline.journal.queries import queries


class Orphan(NamedTuple):
    """A process that may have outlived the run that started it."""

    run_uuid: str
    boot_id: str  # of the system then: after another boot it is gone
    seq: int
    number: int
    pid: int
    pid_start: int  # in clock ticks since boot; 0 if unknown


class Left(NamedTuple):
    """What runs that were killed have left, and nobody has put right yet."""

    crashed: tuple[str, ...]  # uuids of the runs, the oldest first
    orphans: tuple[Orphan, ...]  # to be dealt with before anything runs


class Recovery(NamedTuple):
    """What was put right."""

    crashed: tuple[str, ...]  # as in `Left`
    interrupted: int  # attempts that may have run: no retry is charged for them
    held: tuple[int, ...]  # numbers of jobs that will not run again by themselves
    alone: tuple[int, ...] = ()  # and of those that will run while nothing else does


def look(connection: sqlite3.Connection) -> Left:
    """Changes nothing: it is there again until `recover` has closed it."""
    crashed = connection.execute(queries()["crashed_runs"]).fetchall()
    orphans = [
        Orphan(uuid, boot_id, seq_of(job), number, pid, pid_start or 0)
        for job, number, _, _, pid, pid_start, uuid, boot_id in connection.execute(queries()["open_attempts"])
        if pid is not None
    ]
    return Left(tuple(uuid for _, uuid, _ in crashed), tuple(orphans))


def recover(connection: sqlite3.Connection, now_us: int, forced: Collection[str]) -> Recovery:
    """Inside a transaction: open runs have crashed, open attempts were interrupted, jobs are held if they must be.

    Of runs whose uuid is in *forced* it is known that their user ended them: no job took them down.
    """
    named, execute = queries(), connection.execute
    crashed = execute(named["crashed_runs"]).fetchall()
    attempts = execute(named["open_attempts"]).fetchall()
    held, alone = [], []
    for job, number, run, is_alone, _, _, uuid, _ in attempts:
        execute(named["interrupt_attempt"], (now_us, job, number, run))
        if uuid in forced:
            continue
        execute(named["interrupt_job"], (is_alone, job))
        found = caution(*execute(named["interruptions"], (job,)).fetchone())
        if found is Caution.HELD:
            execute(named["hold"], (job,))
            held.append(seq_of(job))
        elif found is Caution.ALONE:
            alone.append(seq_of(job))
    execute(named["set_crashed"], (now_us,))
    return Recovery(tuple(uuid for _, uuid, _ in crashed), len(attempts), tuple(held), tuple(alone))
