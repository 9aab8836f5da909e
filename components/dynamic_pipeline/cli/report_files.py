"""The files that tell of a run: which were asked for, when they are opened, and how they end."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from time import monotonic
from typing import TYPE_CHECKING

from dynamic_pipeline.cli.console import STDERR, STDOUT
from dynamic_pipeline.cli.request import Request
from dynamic_pipeline.collector import Sink
from dynamic_pipeline.errors import OutputError, UsageError
from dynamic_pipeline.lifecycle import INTERNAL, IO_FAULT, READER_GONE
from dynamic_pipeline.summary import Summary
from dynamic_pipeline.templates import display
from dynamic_pipeline.views.endings import Describe
from dynamic_pipeline.views.summary_json import summary_fields

if TYPE_CHECKING:
    from dynamic_pipeline.sinks.failed_records import FailedRecordsSink
    from dynamic_pipeline.sinks.files import CompleteFile, GrowingFile
    from dynamic_pipeline.sinks.junit import JunitSink
    from dynamic_pipeline.sinks.trace import TraceSink


def check_reports(request: Request) -> None:
    """Refuse what would overwrite or lose something; nothing is created.

    Raises:
        UsageError: says which file, and the way out.
    """
    grows = {"--joblog": request.joblog, "--results": request.results}
    given = grows | {"--junit": request.junit, "--summary-json": request.summary_json}
    given |= {"--record-trace": request.record_trace, "--metrics-file": request.metrics_file}
    seen: dict[str, str] = {}
    for option, name in given.items():
        if name is None or (name == "-" and option == "--results"):
            continue
        path = name.removeprefix("+") if option in grows else name
        if path in {"", "-"}:
            raise UsageError(f"{option} needs the name of a file")
        may_hold_rows = option not in grows or name != path or request.is_resumed
        _check_path(option, path, may_hold_rows=may_hold_rows)
        other = seen.setdefault(os.path.realpath(path), option)
        if other != option:
            raise UsageError(f"{other} and {option} name the same file")
    if request.results == "-" and request.call is None and request.output is None:
        raise UsageError(
            "--results - and the output of the commands would mix on stdout",
            hint="--output DIR keeps the output in files, or --results FILE",
        )


def _check_path(option: str, path: str, *, may_hold_rows: bool) -> None:
    try:
        found = os.stat(path)  # noqa: PTH116 - the path is the user's text
    except OSError:
        return  # opening it will tell
    if stat.S_ISDIR(found.st_mode):
        raise UsageError(f"{option} {path}: is a folder")
    if option not in {"--joblog", "--results"} and not stat.S_ISREG(found.st_mode):
        raise UsageError(f"{option} {path}: is no file that could be replaced when the report is complete")
    if not may_hold_rows and stat.S_ISREG(found.st_mode) and found.st_size:
        raise UsageError(f"{option} {path}: holds something already", hint=f"{option} +{path} appends to it")


def describe_call(name: str) -> Describe:
    """The call of a job, as Python."""
    return lambda record, _job, _slot: f"{name}({record.payload!r})"


class ReportFiles:
    """The reports of one run. `open` comes before the first job, `finish` after the last."""

    def __init__(self, request: Request, run_id: str, state_dir: str) -> None:
        self.run_id = run_id
        self.describe: Describe | None = None  # None for the simulation, whose jobs have no records
        self._request = request
        self._state_dir = state_dir
        self.can_resume = False  # a journal knows the jobs, and the input can be read again
        self._suffix = ""  # of a file of records
        self._headers: Mapping[str, bytes] = {}
        self._junit: JunitSink | None = None
        self._failed: FailedRecordsSink | None = None
        self.trace: TraceSink | None = None
        self._complete: list[CompleteFile] = []  # JUnit's, and the summary's
        self._summary: CompleteFile | None = None
        self._started = datetime.now().astimezone()
        self._started_s = monotonic()
        self.sinks: list[Sink] = []  # these read outputs, which are gone once shown
        self.sinks_after: list[Sink] = []  # these tell what is done, and so come after the output

    def records_are(self, format: str, headers: Mapping[str, bytes]) -> None:  # noqa: A002 - as users say it
        """What the input holds; *headers* of its tables, by the name of each, are known when they have been read."""
        self._suffix = format if format != "lines" else "nul" if self._request.is_null_separated else "txt"
        self._headers = headers

    def open(self) -> None:
        """Make or open all that were asked for.

        Raises:
            OutputError: one of them cannot be.
        """
        self._started, self._started_s = datetime.now().astimezone(), monotonic()
        request = self._request
        try:
            if request.summary_json is not None:
                self._summary = self._complete_file("--summary-json", request.summary_json)
            if request.record_trace is not None:
                from dynamic_pipeline.sinks.trace import TraceSink  # noqa: PLC0415 - only where it was asked for

                self.trace = TraceSink(self._complete_file("--record-trace", request.record_trace))
                self.sinks.append(self.trace)
            if self.describe is not None:
                self._open_sinks(self.describe)
        except OutputError:
            self.discard()
            for sinks in (self.sinks, self.sinks_after):
                for sink in sinks:
                    with contextlib.suppress(OutputError):
                        sink.close()
                sinks.clear()
            raise

    def _open_sinks(self, describe: Describe) -> None:
        from dynamic_pipeline.sinks.failed_records import FailedRecordsSink  # noqa: PLC0415 - not for the simulation

        request = self._request
        if request.results is not None:
            from dynamic_pipeline.sinks.results import ResultsSink  # noqa: PLC0415 - same

            self.sinks_after.append(ResultsSink(_open_results(request.results), describe))
        if request.junit is not None:
            from dynamic_pipeline.sinks.junit import JunitSink  # noqa: PLC0415 - same

            self._junit = JunitSink(self._complete_file("--junit", request.junit))
            self.sinks.append(self._junit)
        stem = os.path.join(self._state_dir, f"failed-{self.run_id}")  # noqa: PTH118 - text
        separator = b"\0" if request.is_null_separated else b"\n"
        self._failed = FailedRecordsSink(stem, self._suffix, separator, self._headers)
        self.sinks.append(self._failed)
        if (
            request.joblog is not None
        ):  # last: it gets a header, and whoever is refused must leave no file that counts
            from dynamic_pipeline.sinks.files import GrowingFile  # noqa: PLC0415 - same
            from dynamic_pipeline.sinks.joblog import JobLogSink  # noqa: PLC0415 - same
            from dynamic_pipeline.views.joblog import HEADER  # noqa: PLC0415 - same

            path = request.joblog.removeprefix("+")
            file = GrowingFile.open(f"--joblog {path}", path, HEADER)
            self.sinks_after.append(JobLogSink(file, describe, is_command=request.call is None))

    def _complete_file(self, option: str, path: str) -> CompleteFile:
        from dynamic_pipeline.sinks.files import CompleteFile  # noqa: PLC0415 - only where it was asked for

        file = CompleteFile(f"{option} {path}", path)
        self._complete.append(file)
        return file

    @property
    def elapsed_s(self) -> float:
        return monotonic() - self._started_s

    def again(self) -> list[str]:
        """How to run what has failed once more, for people; call it after the run."""
        if self._failed is None:
            return []
        lines = []
        if self._failed.error is not None:
            lines.append(f"the failed records could not be kept: {self._failed.error.strerror}")
        elif self._failed.paths:
            words = [*program(), "run", *self._which(self._failed.paths)]
            here = f"cd {display([os.fsencode(os.getcwd())])} && " if self._request.is_silent else ""  # noqa: PTH109 - text
            lines.append(f"run them again: {here}{display([os.fsencode(word) for word in words])}")
        if count := self._failed.left_out:
            lines.append(
                f"without {count} failed record{'s' * (count > 1)} too long to be kept, or with an open quote"
            )
        return lines

    def _which(self, kept: Sequence[str]) -> Iterator[str]:
        """The options after `run`: the failed ones of the same input if a journal knows them, else the *kept* records.

        Those would be other work of the same kind, and the one that a later `--resume` finds.
        """
        for path in self._request.inputs if self.can_resume else kept:
            yield from ("-i", path)
        if self.can_resume:
            yield "--retry-failed"
            yield from self._request.again
            return
        before = ""
        for word in self._request.again:  # numbers begin at 1 again, so outputs go to a folder of their own
            yield f"{word.rstrip('/')}-again" if before == "--output" else word
            before = word

    def finish(self, summary: Summary, code: int) -> tuple[int, list[str]]:
        """Complete the reports; the exit code, which is another one if that failed, and what to tell."""
        errors = []
        if self._junit is not None and not summary.is_mute:  # a stalled collector may still write to it
            problems = [] if summary.error is None else [str(summary.error) or repr(summary.error)]
            if not summary.is_source_complete:
                problems.append("the input was not read to its end: what is left of it is not in this report")
            try:
                self._junit.finish(errors=problems, started=self._started, elapsed_s=self.elapsed_s)
            except OutputError as error:
                errors.append(str(error))
        if self.trace is not None and not summary.is_mute:
            try:
                self.trace.finish()
            except OutputError as error:
                errors.append(str(error))
        if errors and code not in {INTERNAL, READER_GONE}:
            code = IO_FAULT
        if self._summary is not None:
            fields = summary_fields(summary, self.run_id, code, self._started, self.elapsed_s)
            try:
                self._summary.write(json.dumps(fields, indent=2).encode() + b"\n")
                self._summary.complete()
            except OutputError as error:
                errors.append(str(error))
                code = code if code in {INTERNAL, READER_GONE} else IO_FAULT
        self.discard()
        return code, errors

    def discard(self) -> None:
        """Remove what is not complete."""
        for file in self._complete:
            file.discard()


def _open_results(name: str) -> GrowingFile:
    from dynamic_pipeline.sinks.files import GrowingFile  # noqa: PLC0415 - only where it was asked for

    if name != "-":
        path = name.removeprefix("+")
        return GrowingFile.open(f"--results {path}", path)
    fd = os.dup(STDOUT)
    os.dup2(STDERR, STDOUT)  # what calls print would stand between the lines, or within one
    return GrowingFile("--results -", fd, is_stdout=True)


def program() -> Sequence[str]:
    """How this program was started, as a person would type it."""
    path = sys.argv[0]
    if path.endswith(".py"):
        return (sys.orig_argv[0], path)
    name = os.path.basename(path)  # noqa: PTH119 - text
    return (name,) if shutil.which(name) == path else (path,)
