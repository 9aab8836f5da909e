"""The output of commands: whole per job, as it completes; stdout to stdout, stderr to stderr, byte for byte."""

from __future__ import annotations

from collections.abc import Sequence

from dynamic_pipeline.descriptors import write_all
from dynamic_pipeline.errors import OutputError
from dynamic_pipeline.events import Event, JobFailed, JobRetrying, JobSucceeded, JobUnfinished
from dynamic_pipeline.reports import CommandReport
from dynamic_pipeline.spool import Spool
from dynamic_pipeline.stats import Stats

_STDOUT, _STDERR = 1, 2


class OutputSink:
    """Shows what the last attempt of each job wrote. The run cannot go on without it: a result would be lost."""

    def emit(self, events: Sequence[Event], stats: Stats) -> None:  # noqa: ARG002 - a sink's signature
        for event in events:
            if (
                not isinstance(event, (JobSucceeded, JobFailed, JobUnfinished, JobRetrying))
                or event.outcome is None
            ):
                continue
            if not isinstance(event.outcome.value, CommandReport):  # there was no command
                continue
            stdout, stderr, *_ = event.outcome.value
            if not isinstance(event, JobRetrying):
                _copy(stdout, _STDOUT, "stdout")
                _copy(stderr, _STDERR, "stderr")
            stdout.discard()
            stderr.discard()

    def close(self) -> None:
        pass


def _copy(spool: Spool, fd: int, name: str) -> None:
    try:
        for chunk in spool.chunks():
            write_all(fd, chunk)
    except BrokenPipeError as error:
        raise OutputError(f"the reader of {name} has gone", reader_gone=fd == _STDOUT) from error
    except OSError as error:
        raise OutputError(
            f"the jobs' output cannot be written to {name}: {error.strerror}", reader_gone=False
        ) from error
