"""What a report of one run asks the journal: row by row, so that a long run needs no more memory than a short one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from dynamic_pipeline.jobs import JobState
from dynamic_pipeline.journal.answers import STATES
from dynamic_pipeline.journal.numbers import first_of, last_of, number_of, seq_of
from dynamic_pipeline.journal.operations import Decide
from dynamic_pipeline.journal.queries import queries
from dynamic_pipeline.journal.reader import Reader, RunLine

_PAGE = 1000  # decisions that are read at a time
_HAS_OUTPUT = 2  # the version since which the output of failures, and when jobs were accepted, are kept


class Span(NamedTuple):
    """What a run has tried, and between which times; None where it has begun, or ended, nothing."""

    tries: int
    first_started_us: int | None
    last_started_us: int | None
    last_ended_us: int | None


class Try(NamedTuple):
    """One attempt of the run, and what became of its job."""

    seq: int
    number: int
    worker: str
    started_us: int
    ended_us: int | None
    outcome: str | None  # succeeded, failed, timeout, interrupted; None: open
    error: str | None
    state: JobState  # of the job, as it is now
    accepted_us: int | None
    next_number: int | None  # of the job's first attempt in a later run; of failed attempts only


class RecordText(NamedTuple):
    """A job's record, or the beginning of it, and where it stood."""

    start: bytes
    length: int
    source: str
    line: int


class ReportReader(Reader):
    """A `Reader` that also tells all of one run."""

    @contextmanager
    def one_moment(self) -> Iterator[None]:
        """All that is read in the block is of one moment, also while a run writes; its file grows meanwhile."""
        self._connection.execute("BEGIN")
        try:
            yield
        finally:
            self._connection.execute("ROLLBACK")

    def run_named(self, uuid: str) -> RunLine | None:
        row = self._connection.execute(queries()["run_named"], (uuid,)).fetchone()
        return row and RunLine(*row)

    def settings(self, run: RunLine) -> tuple[Mapping[str, str], Mapping[str, tuple[str, str]]]:
        """The parts that the work is known by, and each key's value and origin."""
        parts, config = self._connection.execute(queries()["run_settings"], (run.run,)).fetchone()
        return json.loads(parts), {key: _with_origin(pair) for key, pair in json.loads(config).items()}

    def span(self, run: RunLine) -> Span:
        return Span(*self._connection.execute(queries()["report_span"], _limits(run)).fetchone())

    def tries(self, run: RunLine) -> Iterator[Try]:
        """All attempts of *run*, those of a job together and in order."""
        name = "report_tries" if self._version >= _HAS_OUTPUT else "report_tries_of_1"
        for row in self._connection.execute(queries()[name], _limits(run)):
            job, *told, letter, accepted_us, next_number = row
            yield Try._make([seq_of(job), *told, STATES[letter], accepted_us, next_number])

    def all_decisions(self, run: RunLine) -> Iterator[Decide]:
        """See `decisions`; all of them."""
        after = 0
        while found := self.decisions(run.run, after=after, most=_PAGE):
            yield from found
            after = found[-1].look

    def record(self, run: RunLine, seq: int, most: int) -> RecordText:
        """The first *most* bytes of a job's record."""
        values = {"job": number_of(run.work, seq), "most": most}
        return RecordText(*self._connection.execute(queries()["report_record"], values).fetchone())

    def output(self, run: RunLine, seq: int, number: int) -> bytes:
        """The end of what a failed attempt wrote; empty where it is not on record."""
        if self._version < _HAS_OUTPUT:
            return b""
        values = number_of(run.work, seq), number, run.run
        row = self._connection.execute(queries()["report_output"], values).fetchone()
        return row[0] if row and row[0] else b""


def _limits(run: RunLine) -> dict[str, int]:
    return {"first": first_of(run.work), "last": last_of(run.work), "run": run.run}


def _with_origin(pair: object) -> tuple[str, str]:
    match pair:
        case [value, origin]:
            return str(value), str(origin)
    return str(pair), ""
