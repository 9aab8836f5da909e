"""What a request asks for: where the records come from, and what is done with each."""

from __future__ import annotations

import os
import random
import secrets
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import pipeline_config
from pipeline_config import Settings

from dynamic_pipeline.attempts import Work
from dynamic_pipeline.cli.report_files import ReportFiles, check_reports, describe_call
from dynamic_pipeline.cli.request import Request
from dynamic_pipeline.collector import Sink
from dynamic_pipeline.errors import SourceError, UsageError
from dynamic_pipeline.pacing import PROFILES
from dynamic_pipeline.records import Format
from dynamic_pipeline.spool import IN_MEMORY
from dynamic_pipeline.stop import Stop
from dynamic_pipeline.templates import ANY_NAMES, CommandTemplate, LineTemplate, ShellTemplate, Template
from dynamic_pipeline.work.command import CommandWork

if TYPE_CHECKING:
    from dynamic_pipeline.sinks.output import OutputSink
    from dynamic_pipeline.sources.lines import LineSource

_SUFFIXES: dict[str, Format] = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl"}


@dataclass
class Task:
    """What is to be run, and how it shows."""

    run_id: str
    source: Iterable[Any]
    work: Work
    is_real: bool  # records of the user's: the jobs own stdout, and the end is told
    sinks: Sequence[Sink]
    notes: Sequence[str]  # for the log, before the first job
    reports: ReportFiles
    after_work: Callable[[], object] = bool  # called when the work has been closed
    is_silent: bool = False  # on the console, if all goes well

    @property
    def ends_commands(self) -> bool:
        """The work keeps time limits itself; that of a Python call is another's."""
        return isinstance(self.work, CommandWork)

    def remarks(self) -> list[str]:
        """What was noticed of the records, for the log at the end."""
        remarks = []
        if getattr(self.source, "has_cr", False):
            remarks.append("warning: the lines end with CR LF; the CR was dropped")
        if blank := getattr(self.source, "blank", 0):
            remarks.append(f"{blank} blank line{'s' * (blank > 1)} skipped")
        return remarks

    def close(self) -> None:
        if isinstance(self.work, CommandWork):
            self.work.close()
        self.after_work()

    def drop(self) -> None:
        """The process is about to leave at once."""
        self.kill()
        self.reports.discard()

    def kill(self) -> None:
        if isinstance(self.work, CommandWork):
            self.work.kill()


def plan(request: Request, settings: Settings, stop: Stop) -> Task:
    """Source and work for *request*; nothing is created on disk but the folder for the jobs' output.

    Raises:
        UsageError: an input cannot be read, a function cannot be found, …
    """
    run_id = f"{datetime.now().astimezone():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    check_reports(request)
    reports = ReportFiles(request, run_id, settings.journal.state_dir)
    if request.is_simulation:
        return _plan_simulation(request, settings, stop, reports)
    source = open_source(request, stop)
    reports.records_are(_format(request), getattr(source, "headers", {}))
    if request.call is not None:
        from dynamic_pipeline.sinks.prints import PrintsSink  # noqa: PLC0415 - not needed for the simulation
        from dynamic_pipeline.work.callable import call_with_record, resolve, returning_json  # noqa: PLC0415 - same

        fn = resolve(request.call)
        where = getattr(sys.modules.get(getattr(fn, "__module__", "")), "__file__", None) or "built in"
        reports.describe = describe_call(request.call)
        return Task(
            run_id,
            source,
            call_with_record(fn if request.results is None else returning_json(fn)),
            True,
            (PrintsSink(),),
            (f"calling {request.call} of {where}",),
            reports,
        )
    template = make_template(request, source)
    reports.describe = template.display
    output = plan_output(request, source, stop)
    work = CommandWork(
        template,
        run_id=run_id,
        kill_grace_s=settings.shutdown.kill_grace,
        timeout_s=settings.pipeline.timeout,
        folder=output.folder,
        in_memory=output.in_memory,
    )
    warnings = (f"warning: {template.risk}",) if template.risk else ()
    return Task(run_id, output.source, work, True, (output.sink,), warnings, reports, output.after_work)


class OutputPlan(NamedTuple):
    """What becomes of the outputs of commands, and what the work and the source need to know of it."""

    sink: OutputSink
    source: Iterable[Any]
    folder: str | None = None  # for outputs of running jobs
    in_memory: int = IN_MEMORY
    after_work: Callable[[], object] = bool


def plan_output(request: Request, source: Iterable[Any], stop: Stop) -> OutputPlan:
    """Where the outputs go.

    Raises:
        UsageError: the folder for them holds some already. OSError: it cannot be made.
    """
    from dynamic_pipeline.sinks.output import IN_MEMORY_IN_ORDER, OutputSink  # noqa: PLC0415 - not needed for the simulation

    if request.output is not None:
        from dynamic_pipeline.sinks.kept import KeptOutputs  # noqa: PLC0415 - same

        kept = KeptOutputs(request.output)  # of all jobs, also with -q: it was asked for
        sink = OutputSink(kept.put, spools=kept.spools)
        return OutputPlan(sink, source, kept.spools, -1, kept.close)
    shown = partial(
        OutputSink,
        is_tagged=request.is_tagged,
        only_failed=request.is_quiet,
        spools=tempfile.gettempdir(),
    )
    if not request.keeps_order:
        return OutputPlan(shown(), source)
    from dynamic_pipeline.lead import Lead  # noqa: PLC0415 - same
    from dynamic_pipeline.sources.ahead import Ahead  # noqa: PLC0415 - same

    lead = Lead(stop)
    sink = shown(lead=lead)
    return OutputPlan(sink, Ahead(source, lead), in_memory=IN_MEMORY_IN_ORDER)


def open_source(request: Request, stop: Stop) -> LineSource:
    """The records of *request*.

    Raises:
        UsageError: an input cannot be read, or its format is not clear.
    """
    from dynamic_pipeline.sources.lines import LineSource  # noqa: PLC0415 - not needed for the simulation
    from dynamic_pipeline.sources.tables import TableSource  # noqa: PLC0415 - same

    paths = request.inputs or ("-",)
    name = _format(request)
    if name == "lines":
        return LineSource(paths, stop, separator=b"\0" if request.is_null_separated else b"\n")
    if request.is_lines:
        raise UsageError(
            f"--lines runs each line, and -i {paths[0]} is {name}", hint="--format lines takes it as lines"
        )
    if request.is_null_separated:
        raise UsageError(
            f"-0 separates lines, and {name} has none", hint="leave out -0, or say --format lines"
        )
    return TableSource(paths, stop, format=name)


def _format(request: Request) -> Format:
    """As it was said, or by suffix; all files must agree."""
    if request.format is not None:
        return request.format
    paths = request.inputs or ("-",)
    formats = [_SUFFIXES.get(os.path.splitext(path)[1].lower(), "lines") for path in paths]  # noqa: PTH122 - text
    for path, name in zip(paths, formats, strict=True):
        if name != formats[0]:
            raise UsageError(
                f"-i {paths[0]} is {formats[0]} and -i {path} is {name}",
                hint="--format says what all of them are",
            )
    return formats[0]


def make_template(request: Request, source: LineSource) -> Template:
    """The command of *request*, for the fields that the records have; may wait for the header of a pipe.

    Raises:
        UsageError: a placeholder without a value, or one at risk where that is not allowed; a bad header.
    """
    try:
        names: tuple[str, ...] | None = getattr(source, "names", tuple)()
    except SourceError as error:
        raise UsageError(str(error)) from None
    if names is None or (
        not names and hasattr(source, "names")
    ):  # a table without a header has no rows either
        names = ANY_NAMES
    template: Template
    if request.is_lines:
        template = LineTemplate()
    elif request.shell_command is not None:
        template = ShellTemplate(request.shell_command, names)
    else:
        template = CommandTemplate(request.command, names)
    if request.is_strict and template.risk:
        is_shell = template.risk.endswith(" quotes it")
        raise UsageError(
            f"--strict: {template.risk}",
            hint="or give it as an argument: sh -c '… \"$1\"' sh {}" if is_shell else "",
        )
    return template


def _plan_simulation(request: Request, settings: Settings, stop: Stop, reports: ReportFiles) -> Task:
    from dynamic_pipeline.sources.synthetic import SyntheticSource  # noqa: PLC0415 - not needed for real work
    from dynamic_pipeline.work.simulated import SimulatedWork  # noqa: PLC0415 - same

    duration_s = None
    if request.duration is not None:
        try:
            duration_s = pipeline_config.parse_duration(request.duration)
        except pipeline_config.DurationError as error:
            raise UsageError(f"--duration: {error}", hint=error.hint or "") from None
    seed = random.randrange(1_000_000) if request.seed is None else request.seed  # noqa: S311 - not a secret
    name = settings.load.profile
    try:
        profile = PROFILES[name].scaled(1.0 if request.time_scale is None else request.time_scale)
    except ValueError as error:
        raise UsageError(f"--time-scale: {error}") from None
    source = SyntheticSource(profile, stop, jobs=request.jobs, duration_s=duration_s)
    work = SimulatedWork(seed, profile.job_s, settings.pipeline.failure_rate)
    notes = (f"simulated workload: profile {name}, seed {seed}",)
    return Task(reports.run_id, source, work, False, (), notes, reports)
