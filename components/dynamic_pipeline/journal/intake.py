"""Turns records into jobs: new ones on a new work, known ones when a run is resumed.

On a resume the k-th equal record of today's input is the k-th equal job of the journal, whatever the order. As long
as the records come in the order of the jobs they are compared with them, one after the other. After that the jobs that
were not met yet are sorted by their keys, in a temporary table: a million of them cost no memory.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

from dynamic_pipeline.jobs import JobState
from dynamic_pipeline.journal import operations as ops
from dynamic_pipeline.journal.answers import STATES, Accepted, Skipped, StoredJob, accepted
from dynamic_pipeline.journal.held import Caution, caution
from dynamic_pipeline.journal.numbers import first_of, last_of, number_of, seq_of
from dynamic_pipeline.journal.queries import queries
from dynamic_pipeline.journal.runs import OpenRun


class Place(NamedTuple):
    """How far the intake is; it goes back when a transaction does."""

    last: int  # number of the work's last job
    met: int  # records of today's input
    is_same: bool  # these are the work's first jobs: nothing has to be looked up


class Intake:
    """Owned by the store; works inside its transactions."""

    def __init__(self, connection: sqlite3.Connection, run: OpenRun) -> None:
        self._connection = connection
        self._run = run
        self.place = Place(run.jobs, 0, True)
        self._before = self.place  # this transaction
        self._mark: ops.InputMark | None = None
        connection.execute(queries()["drop_unmet"])
        connection.execute(queries()["make_unmet"])

    def skip(self, op: ops.Skip) -> Skipped:
        """The records before the mark are the work's first jobs: meet them all at once."""
        assert not self.place.met, "records have been met"
        self.place = self.place._replace(met=op.mark.records)
        first = first_of(self._run.work)
        counts: dict[str, int] = dict(
            self._connection.execute(queries()["not_succeeded"], (first, first + op.mark.records) * 2)
        )
        failed, held = counts.get("F", 0), counts.get("H", 0)
        return Skipped(op.mark.records - sum(counts.values()), failed, held)

    def begin(self) -> None:
        """A transaction has begun: what follows may be undone."""
        self._before, self._mark = self.place, None

    def accept(self, op: ops.Accept) -> list[Accepted]:
        answer: list[Accepted] = []
        rest = op.records
        if self.place.is_same and self.place.met < self._run.jobs:
            answer = self._follow(rest)
            rest = rest[len(answer) :]
            if rest and self.place.met < self._run.jobs:
                self._part_ways()
        if rest:
            answer += self._add_all(rest) if self.place.is_same else self._match(rest)
        # A mark must stand for the work's first jobs. So it does if they came in their order; in another order if
        # all of the work's jobs are among them.
        if op.mark is not None and (self.place.is_same or self.place.met == self.place.last):
            self._mark = op.mark._replace(records=self.place.met)
        return answer

    def write_mark(self) -> None:
        """Put down how far the input was accepted, once per transaction; its last statement before the commit."""
        if (mark := self._mark) is not None:
            self._connection.execute(queries()["set_mark"], (*mark, self._run.run))
            self._mark = None

    def forget(self) -> None:
        """The transaction was undone."""
        self.place, self._mark = self._before, None

    def pending(self, op: ops.Pending) -> list[StoredJob]:
        name, after = "pending", op.after
        if op.is_unseen_only:
            if self.place.is_same:
                after = max(after, self.place.met)
            else:
                name = "pending_unmet"
        first = first_of(self._run.work)
        upto = min(first + op.upto, last_of(self._run.work))
        rows = self._connection.execute(queries()[name], (first + after, upto, op.most))
        return [
            StoredJob(seq_of(job), STATES[state], attempts, caution(interruptions, alone), *record)
            for job, state, attempts, interruptions, alone, *record in rows
        ]

    def _follow(self, records: tuple[ops.NewJob, ...]) -> list[Accepted]:
        """Those of *records* that are the next jobs, up to the first that is not."""
        first = first_of(self._run.work)
        limits = first + self.place.met, first + self._run.jobs, len(records)
        answer = []
        for record, (job, key, *rest) in zip(
            records, self._connection.execute(queries()["next_jobs"], limits), strict=False
        ):
            if record.key != key:
                break
            answer.append(accepted(seq_of(job), *rest))
        self.place = self.place._replace(met=self.place.met + len(answer))
        return answer

    def _part_ways(self) -> None:
        """From here on today's input is another one: what was not met of the journal has to be looked up."""
        first = first_of(self._run.work)
        self._connection.execute(queries()["fill_unmet"], (first + self.place.met, first + self._run.jobs))
        self.place = self.place._replace(is_same=False)

    def _add_all(self, records: Sequence[ops.NewJob]) -> list[Accepted]:
        last, known = self.place.last, {"work": self._run.work, "accepted_us": ops.now_us()}
        self._connection.executemany(
            queries()["add_job"],
            [
                {"job": number_of(self._run.work, seq), **known, **record._asdict()}
                for seq, record in enumerate(records, last + 1)
            ],
        )
        self.place = self.place._replace(last=last + len(records), met=self.place.met + len(records))
        return [_new(seq) for seq in range(last + 1, last + len(records) + 1)]

    def _match(self, records: Sequence[ops.NewJob]) -> list[Accepted]:
        find, meet, execute = queries()["find_unmet"], queries()["meet"], self._connection.execute
        answer: list[Accepted | None] = []  # None: it is new
        for record in records:
            found = execute(find, (record.key,)).fetchone()
            if found is None:
                answer.append(None)
                continue
            execute(meet, (record.key, found[0]))
            answer.append(accepted(seq_of(found[0]), *found[1:]))
        self.place = self.place._replace(met=self.place.met + len(answer) - answer.count(None))
        added = iter(
            self._add_all([record for record, known in zip(records, answer, strict=True) if known is None])
        )
        return [known or next(added) for known in answer]


def _new(seq: int) -> Accepted:
    return Accepted(seq, True, JobState.QUEUED, 0, Caution.NONE)
