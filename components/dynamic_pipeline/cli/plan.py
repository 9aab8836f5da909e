"""What a request asks for: where the records come from, and what is done with each."""

from __future__ import annotations

import os
import random
import secrets
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

import pipeline_config
from pipeline_config import Settings

from dynamic_pipeline.attempts import Work
from dynamic_pipeline.cli.request import Request
from dynamic_pipeline.collector import Sink
from dynamic_pipeline.errors import SourceError, UsageError
from dynamic_pipeline.pacing import PROFILES
from dynamic_pipeline.stop import Stop
from dynamic_pipeline.templates import ANY_NAMES, CommandTemplate
from dynamic_pipeline.work.command import CommandWork

if TYPE_CHECKING:
    from dynamic_pipeline.sources.lines import LineSource

Format = Literal["lines", "csv", "tsv", "jsonl"]
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

    def kill(self) -> None:
        if isinstance(self.work, CommandWork):
            self.work.kill()


def plan(request: Request, settings: Settings, stop: Stop) -> Task:
    """Source and work for *request*; nothing is created on disk but the folder for the jobs' output.

    Raises:
        UsageError: an input cannot be read, a function cannot be found, …
    """
    if settings.pipeline.timeout is not None and not request.command:
        raise UsageError(
            "pipeline.timeout is for commands: a Python call in a thread cannot be ended",
            hint="leave it out, or run the function by a command: -- python -m …",
        )
    run_id = f"{datetime.now().astimezone():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    if request.is_simulation:
        return _plan_simulation(request, settings, stop, run_id)
    source = open_source(request, stop)
    if request.call is not None:
        from dynamic_pipeline.sinks.prints import PrintsSink  # noqa: PLC0415 - not needed for the simulation
        from dynamic_pipeline.work.callable import call_with_record, resolve  # noqa: PLC0415 - same

        fn = resolve(request.call)
        where = getattr(sys.modules.get(getattr(fn, "__module__", "")), "__file__", None) or "built in"
        return Task(
            run_id,
            source,
            call_with_record(fn),
            True,
            (PrintsSink(),),
            (f"calling {request.call} of {where}",),
        )
    from dynamic_pipeline.sinks.output import OutputSink  # noqa: PLC0415 - same

    template = make_template(request, source)
    work = CommandWork(
        template,
        run_id=run_id,
        kill_grace_s=settings.shutdown.kill_grace,
        timeout_s=settings.pipeline.timeout,
    )
    warnings = (f"warning: {template.risk}",) if template.risk else ()
    return Task(run_id, source, work, True, (OutputSink(),), warnings)


def open_source(request: Request, stop: Stop) -> LineSource:
    """The records of *request*.

    Raises:
        UsageError: an input cannot be read, or its format is not clear.
    """
    from dynamic_pipeline.sources.lines import LineSource  # noqa: PLC0415 - not needed for the simulation
    from dynamic_pipeline.sources.tables import TableSource  # noqa: PLC0415 - same

    paths = request.inputs or ("-",)
    name = request.format or _format_of(paths)
    if name == "lines":
        return LineSource(paths, stop, separator=b"\0" if request.is_null_separated else b"\n")
    if request.is_null_separated:
        raise UsageError(
            f"-0 separates lines, and {name} has none", hint="leave out -0, or say --format lines"
        )
    return TableSource(paths, stop, format=name)


def _format_of(paths: Sequence[str]) -> Format:
    """By suffix; all files must agree."""
    formats = [_SUFFIXES.get(os.path.splitext(path)[1].lower(), "lines") for path in paths]  # noqa: PTH122 - text
    for path, name in zip(paths, formats, strict=True):
        if name != formats[0]:
            raise UsageError(
                f"-i {paths[0]} is {formats[0]} and -i {path} is {name}",
                hint="--format says what all of them are",
            )
    return formats[0]


def make_template(request: Request, source: LineSource) -> CommandTemplate:
    """The command of *request*, for the fields that the records have; may wait for the header of a pipe.

    Raises:
        UsageError: a placeholder without a value, or one at risk where that is not allowed; a bad header.
    """
    try:
        names: tuple[str, ...] | None = getattr(source, "names", tuple)()
    except SourceError as error:
        raise UsageError(str(error)) from None
    template = CommandTemplate(request.command, ANY_NAMES if names is None else names)
    if request.is_strict and template.risk:
        raise UsageError(
            f"--strict: {template.risk}", hint="or give it as an argument: sh -c '… \"$1\"' sh {}"
        )
    return template


def _plan_simulation(request: Request, settings: Settings, stop: Stop, run_id: str) -> Task:
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
    return Task(run_id, source, work, False, (), (f"simulated workload: profile {name}, seed {seed}",))
