"""What may be asked of the journal, as values; made by their `of`, nothing in them can be refused by SQLite.

A batch is one transaction: one value that does not fit would hold up the others. So text is cut and encoded,
and numbers are clamped, before an operation is posted.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Literal, NamedTuple

from dynamic_pipeline.jobs import JobState
from dynamic_pipeline.journal.fitting import fitting_seq, text, whole

ERROR_CHARS = 1000
RESULT_CHARS = 1 << 20  # a longer result is not kept, only its length: half of a JSON text is none
LABEL_CHARS = 4096  # names of workers, sources and formats
FIELDS_CHARS = 8 << 20

_US_PER_S = 1_000_000
_TIMES = (5, 6)  # places in a load: the clock, and the seconds that workers have worked

AttemptOutcome = Literal["succeeded", "failed", "timeout", "interrupted"]


def now_us() -> int:
    """Microseconds since the epoch: for people, nothing is decided by it."""
    return time.time_ns() // 1000


class NewJob(NamedTuple):
    """A record to be accepted."""

    key: bytes  # of `identity.job_key`
    payload: bytes
    source: str = ""
    line: int = 0
    problem: str = ""
    format: str = "lines"
    fields: str | None = None  # JSON, where the payload alone does not tell them: a row without its header

    @classmethod
    def of(
        cls,
        key: bytes,
        payload: bytes,
        *,
        source: str = "",
        line: int = 0,
        problem: str = "",
        record_format: str = "lines",
        fields: str | None = None,
    ) -> NewJob:
        return cls(
            bytes(key),
            bytes(payload),
            text(source, LABEL_CHARS),
            whole(line),
            text(problem, ERROR_CHARS),
            text(record_format, LABEL_CHARS),
            None if fields is None else text(fields, FIELDS_CHARS),
        )


class InputMark(NamedTuple):
    """A place in the input before which every record was accepted."""

    source: int  # which of the inputs, from 0
    offset: int  # bytes of it before the place
    line: int  # lines of it before the place
    digest: bytes  # of all bytes before the place, those of earlier inputs included
    records: int = 0  # set by the journal: how many jobs they are


class Accept(NamedTuple):
    """Make jobs of *records*, in order; answered by a list of `Accepted`. Repeating it would count them twice."""

    records: tuple[NewJob, ...]
    mark: InputMark | None = None  # the place after the last of them


class Skip(NamedTuple):
    """Today's input begins as the one with *mark* did, and goes on behind it; answered by `Skipped`.

    The first operation on records, or none.
    """

    mark: InputMark


class Start(NamedTuple):
    """The attempt begins once this is answered by True; False: the job is over, or the attempt is known."""

    seq: int
    number: int
    started_us: int
    worker: str = ""
    is_alone: bool = False  # nothing else runs

    @classmethod
    def of(
        cls, seq: int, number: int, *, worker: str = "", is_alone: bool = False, started_us: int | None = None
    ) -> Start:
        return cls(
            fitting_seq(seq),
            whole(number),
            whole(now_us() if started_us is None else started_us),
            text(worker, LABEL_CHARS),
            bool(is_alone),
        )


class Pid(NamedTuple):
    """The process of an open attempt."""

    seq: int
    number: int
    pid: int
    pid_start: int  # in clock ticks since boot; 0 where the system does not tell

    @classmethod
    def of(cls, seq: int, number: int, pid: int, pid_start: int | None) -> Pid:
        return cls(fitting_seq(seq), whole(number), whole(pid), whole(pid_start or 0))


class Finish(NamedTuple):
    """How an attempt ended; answered by False if it is not open in this run: a late or a second report."""

    seq: int
    number: int
    outcome: AttemptOutcome
    ended_us: int
    will_retry: bool = False
    error: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    result_chars: int | None = None
    result: str | None = None
    output: bytes | None = None  # the end of what a failure wrote
    worker: str = ""
    elapsed_us: int = 0  # that the work itself took

    @classmethod
    def of(
        cls,
        seq: int,
        number: int,
        outcome: AttemptOutcome,
        *,
        will_retry: bool = False,
        error: str | None = None,
        exit_code: int | None = None,
        signal: int | None = None,
        result: str | None = None,  # JSON
        output: bytes | None = None,
        worker: str = "",
        elapsed_s: float = 0.0,
        ended_us: int | None = None,
    ) -> Finish:
        return cls(
            fitting_seq(seq),
            whole(number),
            outcome,
            whole(now_us() if ended_us is None else ended_us),
            bool(will_retry),
            None if error is None else text(error, ERROR_CHARS),
            None if exit_code is None else whole(exit_code),
            None if signal is None else whole(signal),
            None if result is None else len(result),
            None if result is None or len(result) > RESULT_CHARS else text(result, RESULT_CHARS),
            output,
            text(worker, LABEL_CHARS),
            whole(round(elapsed_s * _US_PER_S)),
        )

    @property
    def state(self) -> JobState | None:
        """Of the job, afterwards; None after an interruption, which is no attempt: the job is as it was before."""
        if self.outcome == "succeeded":
            return JobState.SUCCEEDED
        if self.outcome == "interrupted":
            return None
        return JobState.RETRYING if self.will_retry else JobState.FAILED


class Decide(NamedTuple):
    """What the policy saw at a look, and what it decided; see `scaling.Load`."""

    look: int
    at_us: int
    workers: int
    reason: str
    queued: int
    in_flight: int
    waiting: int
    allowed: int
    delayed: int
    clock_us: int
    busy_us: int
    started: int
    ended: int
    capacity: int
    overloads: int

    @classmethod
    def of(
        cls, look: int, workers: int, reason: str, seen: Sequence[float], at_us: int | None = None
    ) -> Decide:
        """*seen* in the order of the fields from `queued` on, times in seconds."""
        in_us = [value * _US_PER_S if at in _TIMES else value for at, value in enumerate(seen)]
        numbers = [whole(round(value)) for value in in_us]
        at_us = now_us() if at_us is None else at_us
        return cls(look, whole(at_us), workers, text(reason, ERROR_CHARS), *numbers)


class EndRun(NamedTuple):
    """The last operation of a run, with its counts as the summary shows them."""

    exit_code: int
    succeeded: int
    failed: int
    held: int
    unfinished: int
    ended_us: int


class Reopen(NamedTuple):
    """Let the failed, or the held, jobs of the work run again; answered by how many."""

    state: Literal[JobState.FAILED, JobState.HELD]


class Pending(NamedTuple):
    """Ask for jobs accepted earlier that are not over, by number; answered by a list of `StoredJob`."""

    after: int  # the last one that is known
    upto: int
    most: int = 200
    is_unseen_only: bool = False  # those that today's input has not shown, once it was read to its end


class Barrier(NamedTuple):
    """Nothing to do: answered by True when all that was posted before it is committed."""


Operation = Accept | Skip | Start | Pid | Finish | Decide | EndRun | Reopen | Pending | Barrier
