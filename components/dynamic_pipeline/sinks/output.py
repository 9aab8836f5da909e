"""The output of commands: whole per job, as it completes or in the order of the input, byte for byte."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

from dynamic_pipeline.descriptors import write_all
from dynamic_pipeline.errors import OutputError
from dynamic_pipeline.events import Event, JobFailed, JobRetrying, JobSucceeded, JobUnfinished
from dynamic_pipeline.jobs import Job
from dynamic_pipeline.lead import Lead
from dynamic_pipeline.reports import CommandReport, LostOutput
from dynamic_pipeline.spool import Spool, has_disk_room
from dynamic_pipeline.stats import Stats
from dynamic_pipeline.views.escape import escape

IN_MEMORY_IN_ORDER = 1024  # bytes of a stream kept in memory where thousands may wait for a slow job
_STDOUT, _STDERR = 1, 2
_LONGEST_TAG = 60  # characters
_TAGGED_CHUNK = 1 << 15  # bytes; each may be a newline and grow by a whole tag


class Output(NamedTuple):
    """What the last attempt of a job wrote. Who gets it moves or discards both spools."""

    job_id: int
    stdout: Spool
    stderr: Spool
    tag: bytes = b""  # stands before each line


def show(output: Output) -> None:
    """Stdout to stdout, stderr to stderr.

    Raises:
        OutputError: one of them does not take it.
    """
    _copy(output.stdout, output.tag, _STDOUT, "stdout")
    _copy(output.stderr, output.tag, _STDERR, "stderr")
    output.stdout.discard()
    output.stderr.discard()


class OutputSink:
    """Hands over what the last attempt of each job wrote. The run cannot go on without it: a result would be lost.

    *put* gets each output. With a *lead*, in the order of the input, and the lead is told how many were
    released. *is_tagged*: with the record before each line. *only_failed*: what others wrote is dropped.
    *spools*: the folder on whose disk the commands write; many do not notice that it is full.
    """

    def __init__(
        self,
        put: Callable[[Output], object] = show,
        *,
        lead: Lead | None = None,
        is_tagged: bool = False,
        only_failed: bool = False,
        spools: str | None = None,
    ) -> None:
        self.away: Callable[[], AbstractContextManager[object]] = nullcontext  # around each put
        self._put_it = put
        self._in_order = None if lead is None else _InOrder(self._put, lead)
        self._is_tagged = is_tagged
        self._only_failed = only_failed
        self._spools = spools

    def emit(self, events: Sequence[Event], stats: Stats) -> None:  # noqa: ARG002 - a sink's signature
        # Looked at before anything is shown, which makes room; told afterwards, so that nothing more is lost.
        is_cut = (
            self._spools is not None and any(map(_has_report, events)) and not has_disk_room(self._spools)
        )
        lost = ""
        for event in events:
            match event:
                case JobSucceeded(attempt, outcome):
                    self._end(attempt.job, outcome.value, is_wanted=not self._only_failed)
                case JobFailed(attempt, outcome):
                    lost = lost or (outcome.value.text if isinstance(outcome.value, LostOutput) else "")
                    self._end(attempt.job, outcome.value, is_wanted=True)
                case JobUnfinished(job, outcome):
                    value = None if outcome is None else outcome.value
                    self._end(job, value, is_wanted=not self._only_failed)
                case JobRetrying(_, outcome):
                    _drop(outcome.value)
                case _:
                    pass
        if self._in_order is not None:
            self._in_order.publish()
        if lost:
            raise OutputError(f"the jobs' output cannot be written: {lost}", reader_gone=False)
        if is_cut:
            text = f"the jobs' output cannot be written to {self._spools}: {os.strerror(errno.ENOSPC)}"
            raise OutputError(text, reader_gone=False)

    def close(self) -> None:
        if self._in_order is not None:
            self._in_order.put_rest()

    def _put(self, output: Output) -> None:
        with self.away():
            self._put_it(output)

    def _end(self, job: Job, value: object, *, is_wanted: bool) -> None:
        output = None
        if not is_wanted:
            _drop(value)
        elif isinstance(value, CommandReport):  # else there was no command
            tag = _tag(job.payload) if self._is_tagged else b""
            output = Output(job.id, value.stdout, value.stderr, tag)
        if self._in_order is not None:
            self._in_order.add(job.id, output)
        elif output is not None:
            self._put(output)


class _InOrder:
    """Outputs that wait for those of earlier jobs. It holds no record and no open file."""

    def __init__(self, put: Callable[[Output], object], lead: Lead) -> None:
        self._put = put
        self._lead = lead
        self._waiting: dict[int, Output | None] = {}  # by job id; None: it has ended, with nothing to show
        self._released = 0

    def add(self, job_id: int, output: Output | None) -> None:
        """The job has ended: put what may be put now."""
        self._waiting[job_id] = output
        order = self._lead.order  # an end comes after its job was drawn, so it is in there
        while order and order[0] in self._waiting:
            self._put_one(order.popleft())
            self._released += 1

    def publish(self) -> None:
        """Tell the source how far we are."""
        if self._lead.released != self._released:
            self._lead.release(self._released)

    def put_rest(self) -> None:
        """No job will end any more."""
        for job_id in self._lead.order:
            if job_id in self._waiting:
                self._put_one(job_id)

    def _put_one(self, job_id: int) -> None:
        output = self._waiting.pop(job_id)
        if output is not None:
            try:
                self._put(output)
            except BaseException:
                self._waiting.clear()  # nothing is shown behind a gap
                raise


def _has_report(event: Event) -> bool:
    return isinstance(event, (JobSucceeded, JobFailed, JobUnfinished, JobRetrying)) and isinstance(
        getattr(event.outcome, "value", None), CommandReport
    )


def _drop(value: object) -> None:
    if isinstance(value, CommandReport):
        value.stdout.discard()
        value.stderr.discard()


def _tag(record: object) -> bytes:
    """The record on one line, cut, and a TAB."""
    text = escape(str(record)[: _LONGEST_TAG + 1])
    if len(text) > _LONGEST_TAG:
        text = text[: _LONGEST_TAG - 1] + "…"
    return f"{text}\t".encode()


def _copy(spool: Spool, tag: bytes, fd: int, name: str) -> None:
    try:
        for chunk in _tagged(spool.chunks(_TAGGED_CHUNK), tag) if tag else spool.chunks():
            write_all(fd, chunk)
    except BrokenPipeError as error:
        raise OutputError(f"the reader of {name} has gone", reader_gone=fd == _STDOUT) from error
    except OSError as error:
        raise OutputError(
            f"the jobs' output cannot be written to {name}: {error.strerror}", reader_gone=False
        ) from error


def _tagged(chunks: Iterator[bytes], tag: bytes) -> Iterator[bytes]:
    """*chunks* with *tag* at the start of each line, wherever one chunk ends and the next begins."""
    is_line_start = True
    for chunk in chunks:
        first = tag if is_line_start else b""
        is_line_start = chunk.endswith(b"\n")
        lines = chunk.removesuffix(b"\n").replace(b"\n", b"\n" + tag)
        yield b"".join((first, lines, b"\n" if is_line_start else b""))
