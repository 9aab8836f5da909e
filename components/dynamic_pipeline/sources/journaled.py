"""Records as jobs that the journal has accepted: new ones, and those that an earlier run has left."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from dynamic_pipeline.errors import SourceStopped
from dynamic_pipeline.gates import GatedEvents
from dynamic_pipeline.handover import Bell, Handover
from dynamic_pipeline.jobs import Job, JobState
from dynamic_pipeline.journal.answers import Accepted, Skipped, StoredJob
from dynamic_pipeline.journal.faults import JournalError
from dynamic_pipeline.journal.held import Caution
from dynamic_pipeline.journal.numbers import MOST_JOBS
from dynamic_pipeline.journal.operations import Accept, Barrier, InputMark, NewJob, Pending, Skip
from dynamic_pipeline.journal.writer import JournalWriter
from dynamic_pipeline.records import Record
from dynamic_pipeline.sources.batches import Batch, Batches
from dynamic_pipeline.sources.lines import LineSource
from dynamic_pipeline.stop import Stop

_MOST_AHEAD = 1000  # records read and not yet drawn; memory stays flat
_OVER = {JobState.SUCCEEDED, JobState.FAILED, JobState.HELD}


class _End(NamedTuple):
    """Nothing more will come."""

    error: BaseException | None  # SourceStopped if it was told to stop


class JournaledSource:
    """Two threads: `read` draws from *source* and has its records accepted; iterating gives the jobs.

    What is over since an earlier run is counted and passed by. After the last record come the jobs of earlier
    runs that today's input does not have. A job that took the process down too often runs alone: it is given
    when all before it have ended, and the next one when it has ended.

    Args:
        source: of records.
        new_job: what the journal keeps of a record.
        restore: the record of what the journal has kept.
        stop: ends the reading; what was accepted and not given is left for the next run.
        known: a place of which the journal knows all records before it; where *source* is the same up to there,
            it is read on from there.
    """

    def __init__(
        self,
        source: Iterable[Record],
        writer: JournalWriter,
        new_job: Callable[[Record], NewJob],
        restore: Callable[[StoredJob], Record],
        stop: Stop,
        known: InputMark | None = None,
    ) -> None:
        self._source = source
        self._writer = writer
        self._known = known
        self._new_job, self._restore = new_job, restore
        self._stop = stop
        self._gate: GatedEvents | None = None
        self.alone: set[int] = set()  # numbers of jobs that run alone
        self._batches = Batches(self._post, known)
        self._read = self._drawn = self._given = 0  # records, those drawn, jobs; each written by one thread
        self._ready: Handover[Job | JobState | Skipped | _End] = (
            Handover()
        )  # a state: of a job that is passed by
        self._room = Bell()
        stop.tell(self._room.ring)
        # Of earlier runs, met again today and passed by. Written by the iterating thread; others may be late.
        self.succeeded_before = self.failed_before = self.held = self.missing = 0

    def __getattr__(self, name: str) -> Any:
        """What else others ask of a source."""
        return getattr(self._source, name)

    def ends_at(self, gate: GatedEvents) -> None:
        """The run is about to begin; *gate* tells how many jobs have ended."""
        self._gate = gate
        self._stop.tell(gate.bell.ring)

    def earlier(self) -> dict[str, int]:
        """The counts of earlier runs, by the names of `Summary`."""
        return {
            "succeeded_before": self.succeeded_before,
            "failed_before": self.failed_before,
            "held": self.held,
            "missing": self.missing,
        }

    # ── the reader's thread ─────────────────────────────────────────────────────────────────────────

    def read(self) -> None:
        """Until the source ends, or fails, or *stop* is set."""
        error: BaseException | None = None
        try:
            if isinstance(self._source, LineSource) and self._source.keep_mark(self._known):
                self._skip()
            for record in self._source:
                self._accept(record)
                self._look_for_stop()
            self._finish()
        except BaseException as raised:  # whatever it is: the iterating thread raises it
            error = raised
        self._batches.send_rest()  # accepted whatever happened: a pipe does not give it again
        if error is None or isinstance(error, SourceStopped):
            self._ready.put(_End(error))
        else:  # told after what came before it
            self._writer.post(Barrier(), lambda _: self._ready.put(_End(error)))

    def _skip(self) -> None:
        """Today's input begins with what the journal knows: give what is not over of it."""
        assert self._known is not None, "nothing can be the same"
        self._ready.put(self._ask(Skip(self._known)))
        for _ in self._give_stored(Pending(0, upto=self._known.records)):
            pass

    def _look_for_stop(self) -> None:
        if self._stop.is_set:
            raise SourceStopped

    def _accept(self, record: Record) -> None:
        self._read += 1
        self._batches.add(record, self._place())
        self._await_room()

    def _place(self) -> InputMark | None:
        return self._source.mark if isinstance(self._source, LineSource) else None

    def _await_room(self, most: int = _MOST_AHEAD) -> None:
        """Until fewer than *most* records are read and not drawn."""
        while self._read - self._drawn >= most:
            self._look_for_stop()
            self._room.wait(lambda: self._read - self._drawn < most or self._stop.is_set)

    def _finish(self) -> None:
        """The input is at its end: wait until all of it was accepted, then give what only the journal knows."""
        self._batches.add(None, self._place())
        self._await_room(1)
        for count in self._give_stored(Pending(0, upto=MOST_JOBS, is_unseen_only=True)):
            self.missing += count

    def _give_stored(self, pending: Pending) -> Iterator[int]:
        """Give what the journal has of *pending*, part by part, as there is room; the number of each part."""
        while stored := self._ask(pending):
            yield len(stored)
            self._read += len(stored)
            for job in stored:
                self._give(job.seq, job.state, job.attempts, job.caution, self._restore(job))
            pending = pending._replace(after=stored[-1].seq)
            self._await_room()

    def _ask(self, operation: Pending | Skip) -> Any:
        answers: Handover[Any] = Handover()
        self._writer.post(operation, answers.put)
        (answer,) = answers.take_wait()
        if isinstance(answer, JournalError):
            raise answer
        if not isinstance(answer, (list, Skipped)):
            raise JournalError(f"not answered: {answer}")
        return answer

    # ── the reader's thread or the journal's ────────────────────────────────────────────────────────

    def _post(self, batch: Batch) -> None:
        accept = Accept(tuple(map(self._new_job, batch.records)), batch.mark)
        self._writer.post(accept, lambda answer: self._answered(batch.records, answer))

    def _answered(self, records: list[Record], answer: Any) -> None:
        if isinstance(answer, list):
            for record, job in zip(records, answer, strict=True):
                accepted: Accepted = job
                self._give(accepted.seq, accepted.state, accepted.attempts, accepted.caution, record)
        else:
            error = answer if isinstance(answer, JournalError) else JournalError(f"not accepted: {answer}")
            self._ready.put(_End(error))
        self._batches.arrived()

    def _give(self, seq: int, state: JobState, attempts: int, caution: Caution, record: Record) -> None:
        if state in _OVER or caution is Caution.HELD:
            self._ready.put(state if state in _OVER else JobState.HELD)
            return
        if caution is Caution.ALONE:
            self.alone.add(seq)
        self._ready.put(Job(seq, record, attempts))

    # ── the producer's thread ───────────────────────────────────────────────────────────────────────

    def __iter__(self) -> Iterator[Job]:
        while True:
            for item in self._ready.take_wait():
                if isinstance(item, _End):
                    if item.error is not None:
                        raise item.error
                    return
                if isinstance(item, Skipped):
                    self.succeeded_before += item.succeeded
                    self.failed_before += item.failed
                    self.held += item.held
                    continue
                self._drawn += 1
                if isinstance(item, Job):
                    yield from self._in_turn(item)
                else:
                    self._pass_by(item)
            self._room.ring()

    def _in_turn(self, job: Job) -> Iterator[Job]:
        is_alone = job.id in self.alone
        if is_alone:
            self._await_ends()
        self._given += 1
        yield job
        if is_alone:
            self._await_ends()

    def _await_ends(self) -> None:
        """Until every job that was given has ended."""
        gate = self._gate
        assert gate is not None, "nobody tells of ends"
        while gate.ended < self._given:
            self._look_for_stop()
            gate.bell.wait(lambda: gate.ended >= self._given or self._stop.is_set)

    def _pass_by(self, state: JobState) -> None:
        if state is JobState.SUCCEEDED:
            self.succeeded_before += 1
        elif state is JobState.FAILED:
            self.failed_before += 1
        else:
            self.held += 1
