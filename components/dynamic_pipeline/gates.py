"""What a journal puts between a decision and its effect: it is written down first.

Two doors in the line, each with the face of what stands behind it, so that the orchestrator knows of neither:

    orchestrator → [start committed] → executor            `GatedExecutor`
    orchestrator → [finish committed] → events             `GatedEvents`
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from typing import Any

from dynamic_pipeline import events as ev
from dynamic_pipeline.attempts import Attempt, Failed
from dynamic_pipeline.executors import ResizableExecutor
from dynamic_pipeline.handover import Bell, Handover
from dynamic_pipeline.journal.faults import JournalError
from dynamic_pipeline.journal.operations import AttemptOutcome, Barrier, Finish, Operation, Start
from dynamic_pipeline.journal.writer import JournalWriter
from dynamic_pipeline.lean_future import LeanFuture
from dynamic_pipeline.reports import CallReport, CommandReport

_MOST_OUTPUTS = 1000  # ends of outputs of failed jobs that a run keeps: four megabytes
_UNRECORDED = "executed, not recorded: the journal had failed"
_NOT_BEGUN = "not started: its start could not be recorded"


class GatedExecutor:
    """An executor whose calls begin when the journal has their start. Once it has failed none begins any more.

    A call that is cancelled before does not begin either; the end of the run closes its attempt.
    """

    def __init__(
        self, executor: ResizableExecutor, writer: JournalWriter, is_alone: Callable[[int], bool]
    ) -> None:
        self._executor = executor
        self._writer = writer
        self._is_alone = is_alone  # of a job's number: nothing else runs

    def submit(self, fn: Callable[..., Any], work: Any, attempt: Attempt) -> Future[Any]:
        future: Future[Any] = LeanFuture()

        def begin(answer: object) -> None:  # on the journal's thread
            why = _NOT_BEGUN
            if answer is True:
                try:
                    self._executor.submit(_call, future, fn, work, attempt)
                except RuntimeError as error:  # the pool was shut down meanwhile; no more threads
                    why = f"not started: {error}"
                else:
                    return
            if future.set_running_or_notify_cancel():
                future.set_result(Failed(why, 0.0, "", is_interrupted=True))

        self._writer.post(
            Start.of(attempt.job.id, attempt.number, is_alone=self._is_alone(attempt.job.id)), begin
        )
        return future

    def resize(self, max_workers: int, /) -> None:
        self._executor.resize(max_workers)


def _call(future: Future[Any], fn: Callable[..., Any], work: Any, attempt: Attempt) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = fn(work, attempt)
    except BaseException as error:
        future.set_exception(error)
    else:
        future.set_result(result)


class GatedEvents:
    """Events that sinks hear of when the journal has them, in order.

    Once the journal has failed, the end of a job that it does not have is told as `JobUnfinished`: it will run
    again. *on_failed* then hears of the error, once.

    The orchestrator's thread puts; the journal's thread hands on, and counts the ends.
    """

    def __init__(
        self,
        events: Handover[ev.Event],
        writer: JournalWriter,
        capacity: int,
        on_failed: Callable[[JournalError], object],
        room_bell: Bell,
    ) -> None:
        self._events = events
        self._room = (
            room_bell  # where the orchestrator waits for room: here too it may be the journal that was behind
        )
        self._writer = writer
        self._capacity = capacity
        self._on_failed = on_failed
        self._put = self._passed = 0  # batches; each written by one thread
        self._outputs = 0  # of failed jobs that were kept
        self._has_failed = False
        self.ended = 0  # jobs whose end was recorded, or never will be
        self.unrecorded: list[int] = []  # numbers of jobs that were executed, and are not in the journal
        self.bell = Bell()  # rings when `ended` has grown

    def put(self, event: ev.Event) -> None:
        self.put_all([event])

    def put_all(self, events: Iterable[ev.Event]) -> None:
        batch = list(events)
        finishes = []
        for at, event in enumerate(batch):
            if (op := finish_of(event, keeps_output=self._outputs < _MOST_OUTPUTS)) is not None:
                finishes.append((at, op))
                self._outputs += op.output is not None
        answers: list[object] = []

        def hand_on(answer: object) -> None:
            answers.append(answer)
            self._hand_on(batch, finishes, answers)

        operations: list[Operation] = [op for _, op in finishes] or [Barrier()]
        self._put += 1
        self._writer.post_all([*((op, answers.append) for op in operations[:-1]), (operations[-1], hand_on)])

    def has_room(self) -> bool:
        return self._put - self._passed < self._capacity and self._events.has_room()

    def _hand_on(
        self, batch: list[ev.Event], finishes: Sequence[tuple[int, Finish]], answers: Sequence[object]
    ) -> None:
        for (at, op), answer in zip(finishes, answers, strict=False):
            if answer is not True:
                self.unrecorded.append(op.seq)
                if not op.will_retry:  # such a job is still in hand, and its end will be told
                    job = batch[at].attempt.job  # type: ignore[union-attr]  # `finish_of` made something of it
                    batch[at] = ev.JobUnfinished(job, Failed(_UNRECORDED, 0.0, ""))
        self._events.put_all(batch)
        self._passed += 1
        if self._put - self._passed == self._capacity - 1:
            self._room.ring()
        ends = sum(isinstance(event, (ev.JobSucceeded, ev.JobFailed, ev.JobUnfinished)) for event in batch)
        if ends:
            self.ended += ends
            self.bell.ring()
        if not self._has_failed and isinstance(error := answers[-1], JournalError):
            self._has_failed = True
            self._on_failed(error)


def finish_of(event: ev.Event, *, keeps_output: bool = True) -> Finish | None:
    """What the journal is told of *event*; None where it is no end of an attempt that counts."""
    match event:
        case ev.JobSucceeded(attempt, outcome):
            value = outcome.value
            result = value.json if isinstance(value, CallReport) else None
            code, signum = _codes(value)
            return Finish.of(
                attempt.job.id,
                attempt.number,
                "succeeded",
                result=result,
                exit_code=code,
                signal=signum,
                worker=outcome.worker,
                elapsed_s=outcome.elapsed_s,
            )
        case ev.JobRetrying(attempt, failed, _) | ev.JobFailed(attempt, failed):
            code, signum = _codes(failed.value)
            is_final = isinstance(event, ev.JobFailed)
            tail = getattr(failed.value, "tail", None) if is_final and keeps_output else None
            return Finish.of(
                attempt.job.id,
                attempt.number,
                _how(failed),
                will_retry=not is_final,
                error=failed.error,
                exit_code=code,
                signal=signum,
                output=None if tail is None else tail() or None,
                worker=failed.worker,
                elapsed_s=failed.elapsed_s,
            )
    return None


def _how(failed: Failed) -> AttemptOutcome:
    return "timeout" if failed.error.startswith("timeout after ") else "failed"


def _codes(value: object) -> tuple[int | None, int | None]:
    """The exit code and the signal of a command; a call has neither."""
    if not isinstance(value, CommandReport):
        return None, None
    return (value.code, None) if value.code >= 0 else (None, -value.code)
