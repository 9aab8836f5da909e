"""What a run was fed, for `simulate`: when each job came, when the queue took it, how long each attempt ran."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from time import monotonic
from typing import Any

from dynamic_pipeline.events import Event, JobFailed, JobRetrying, JobSucceeded, JobUnfinished
from dynamic_pipeline.jobs import Job
from dynamic_pipeline.sinks.files import CompleteFile
from dynamic_pipeline.stats import Stats


class _Row:
    """A job that has come and is not over."""

    __slots__ = ("accepted_s", "at_s", "attempts", "gap_s")

    def __init__(self, at_s: float, gap_s: float) -> None:
        self.at_s = at_s  # since the producer began
        self.gap_s = gap_s  # since the job before was accepted: what the source itself took
        self.accepted_s: float | None = None
        self.attempts: list[tuple[float, bool]] = []  # seconds, and whether it went well


class TraceSink:
    """A line per job that is over, in no order; one that is left unfinished has none. `finish` gives the file its name."""

    def __init__(self, file: CompleteFile, now: Callable[[], float] = monotonic) -> None:
        self._file = file
        self._now = now
        self._rows: dict[int, _Row] = {}  # by job; the producer adds, the collector removes
        self._over: list[int] = []

    def watch(self, source: Iterable[Any]) -> Iterable[Any]:
        """*source*, with a look at the clock before and after each job is handed on."""
        return _Watched(source, self._rows, lambda: self._file.is_open, self._now)

    def emit(self, events: Sequence[Event], stats: Stats) -> None:  # noqa: ARG002 - a sink's signature
        for event in events:
            match event:
                case (
                    JobSucceeded(attempt, outcome)
                    | JobFailed(attempt, outcome)
                    | JobRetrying(attempt, outcome)
                ):
                    is_ok = isinstance(event, JobSucceeded)
                    if (row := self._rows.get(attempt.job.id)) is not None:
                        row.attempts.append((outcome.elapsed_s, is_ok))
                        if not isinstance(event, JobRetrying):
                            self._over.append(attempt.job.id)
                case JobUnfinished(job):
                    self._rows.pop(job.id, None)
                case _:
                    pass
        # One that was over before its producer could look at the clock has to wait for that.
        self._write([job for job in self._over if self._rows[job].accepted_s is not None])
        self._over = [job for job in self._over if job in self._rows]

    def close(self) -> None:
        self._write(self._over)
        self._over = []

    def _write(self, jobs: Sequence[int]) -> None:
        if jobs and self._file.is_open:
            self._file.write(b"".join(_line(self._rows.pop(job)) for job in jobs))

    def finish(self) -> None:
        """The run is over.

        Raises:
            OutputError: what stood there before stays.
        """
        if self._file.is_open:
            self._file.complete()


class _Watched:
    """A source that is looked at; whatever else it is asked for it gives as it is."""

    def __init__(
        self,
        source: Iterable[Any],
        rows: dict[int, _Row],
        is_wanted: Callable[[], bool],  # the file has not been given up
        now: Callable[[], float],
    ) -> None:
        self._source, self._rows, self._is_wanted, self._now = source, rows, is_wanted, now

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def __iter__(self) -> Iterator[Any]:
        begun_s = accepted_s = self._now()
        for number, item in enumerate(self._source, 1):
            now_s = self._now()
            row = _Row(now_s - begun_s, now_s - accepted_s)
            if self._is_wanted():
                self._rows[item.id if type(item) is Job else number] = row
            yield item
            accepted_s = self._now()
            row.accepted_s = accepted_s - begun_s


def _line(row: _Row) -> bytes:
    accepted_s = row.at_s if row.accepted_s is None else row.accepted_s
    fields = {
        "t": round(row.at_s, 6),
        "accepted": round(accepted_s, 6),
        "gap": round(row.gap_s, 6),
        "svc": [round(seconds, 6) for seconds, _ in row.attempts],
        "ok": [is_ok for _, is_ok in row.attempts],
    }
    return json.dumps(fields).encode() + b"\n"
