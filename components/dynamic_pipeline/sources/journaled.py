"""Records as jobs that the journal has accepted: new ones, and those that an earlier run has left."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from dynamic_pipeline.errors import SourceStopped
from dynamic_pipeline.events import Event, Warned
from dynamic_pipeline.executors import ResizableExecutor
from dynamic_pipeline.gates import GatedEvents, GatedExecutor
from dynamic_pipeline.handover import Bell, Handover
from dynamic_pipeline.jobs import Job, JobState
from dynamic_pipeline.journal.faults import JournalError
from dynamic_pipeline.journal.held import Caution
from dynamic_pipeline.journal.numbers import MOST_JOBS
from dynamic_pipeline.journal.operations import Accept, Accepted, Barrier, NewJob, Pending, StoredJob
from dynamic_pipeline.journal.writer import JournalWriter
from dynamic_pipeline.records import Record
from dynamic_pipeline.stop import Stop

_MOST_AHEAD = 1000  # records read and not yet drawn; memory stays flat
_BATCH = 200  # records of one operation
_OVER = {JobState.SUCCEEDED, JobState.FAILED, JobState.HELD}


class _End(NamedTuple):
    """Nothing more will come."""

    error: BaseException | None  # SourceStopped if it was told to stop


class JournalLine:
    """A journal as a run sees it: who writes it, what it gives, and whom it tells."""

    writer: JournalWriter
    source: JournaledSource
    gate: GatedEvents | None = None  # of the run, once there is one

    def __init__(self) -> None:
        # Set by `stand_between`; called on the journal's thread.
        self.tell: Callable[[str], object] = bool
        self.crashed: Callable[[str, BaseException], object] = lambda *_: None

    def stand_between(
        self,
        events: Handover[Event],
        executor: ResizableExecutor,
        room_bell: Bell,
        on_failed: Callable[[JournalError], object],
        crashed: Callable[[str, BaseException], object],
    ) -> tuple[GatedEvents, GatedExecutor]:
        """The doors to put in front of *events* and *executor*; *room_bell* is that of *events*.

        *on_failed* hears once that nothing can be recorded any more, *crashed* of an error of ours; neither
        may block.
        """
        self.tell = lambda text: events.put(Warned(text))
        self.crashed = crashed
        self.gate = GatedEvents(events, self.writer, events.capacity or 0, on_failed, room_bell)
        self.source.ends_at(self.gate)
        alone = self.source.alone
        return self.gate, GatedExecutor(executor, self.writer, lambda seq: seq in alone)


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
    """

    def __init__(
        self,
        source: Iterable[Record],
        writer: JournalWriter,
        new_job: Callable[[Record], NewJob],
        restore: Callable[[StoredJob], Record],
        stop: Stop,
    ) -> None:
        self._source = source
        self._writer = writer
        self._new_job, self._restore = new_job, restore
        self._stop = stop
        self._gate: GatedEvents | None = None
        self.alone: set[int] = set()  # numbers of jobs that run alone
        self._lock = threading.Lock()  # of the two that make batches: the reader and the journal's thread
        self._gathered: deque[Record] = deque()
        self._is_asking = False  # a batch is on its way
        self._read = self._drawn = self._given = 0  # records, those drawn, jobs; each written by one thread
        self._ready: Handover[Job | JobState | _End] = Handover()  # a state: of a job that is passed by
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
            for record in self._source:
                self._accept(record)
                self._look_for_stop()
            self._finish()
        except BaseException as raised:  # whatever it is: the iterating thread raises it
            error = raised
        with self._lock:  # what was read is accepted whatever happened: a pipe does not give it again
            rest = list(self._gathered)
            self._gathered.clear()
        self._post(rest)
        if error is None or isinstance(error, SourceStopped):
            self._ready.put(_End(error))
        else:  # told after what came before it
            self._writer.post(Barrier(), lambda _: self._ready.put(_End(error)))

    def _look_for_stop(self) -> None:
        if self._stop.is_set:
            raise SourceStopped

    def _accept(self, record: Record) -> None:
        self._read += 1
        with self._lock:
            self._gathered.append(record)
            batch = self._take_batch()
        self._post(batch)
        self._await_room()

    def _await_room(self, most: int = _MOST_AHEAD) -> None:
        """Until fewer than *most* records are read and not drawn."""
        while self._read - self._drawn >= most:
            self._look_for_stop()
            self._room.wait(lambda: self._read - self._drawn < most or self._stop.is_set)

    def _finish(self) -> None:
        """The input is at its end: wait until all of it was accepted, then give what only the journal knows."""
        self._await_room(1)
        after = 0
        while stored := self._ask(Pending(after, upto=MOST_JOBS, is_unseen_only=True)):
            self.missing += len(stored)
            self._read += len(stored)
            for job in stored:
                self._give(job.seq, job.state, job.attempts, job.caution, self._restore(job))
            after = stored[-1].seq
            self._await_room()

    def _ask(self, operation: Pending) -> list[StoredJob]:
        answers: Handover[Any] = Handover()
        self._writer.post(operation, answers.put)
        (answer,) = answers.take_wait()
        if isinstance(answer, JournalError):
            raise answer
        return list(answer)

    # ── the reader's thread or the journal's ────────────────────────────────────────────────────────

    def _take_batch(self) -> list[Record]:
        """What is to be posted now; the caller holds the lock. One batch is on its way at a time: the next gathers."""
        if self._is_asking or not self._gathered:
            return []
        self._is_asking = True
        return [self._gathered.popleft() for _ in range(min(_BATCH, len(self._gathered)))]

    def _post(self, batch: list[Record]) -> None:
        if batch:
            accept = Accept(tuple(map(self._new_job, batch)))
            self._writer.post(accept, lambda answer: self._answered(batch, answer))

    def _answered(self, batch: list[Record], answer: Any) -> None:
        if isinstance(answer, list):
            for record, job in zip(batch, answer, strict=True):
                accepted: Accepted = job
                self._give(accepted.seq, accepted.state, accepted.attempts, accepted.caution, record)
        else:
            error = answer if isinstance(answer, JournalError) else JournalError(f"not accepted: {answer}")
            self._ready.put(_End(error))
        with self._lock:
            self._is_asking = False
            batch = self._take_batch()
        self._post(batch)

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
