"""What a request asks for: where the records come from, and what is done with each."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pipeline_config
from pipeline_config import Settings

from dynamic_pipeline.attempts import Work
from dynamic_pipeline.cli.engine import Engine, open_engine
from dynamic_pipeline.cli.foresight import foresee
from dynamic_pipeline.cli.inputs import format_of, open_source
from dynamic_pipeline.cli.outputs import OutputPlan, plan_output
from dynamic_pipeline.cli.report_files import ReportFiles, check_reports, describe_call
from dynamic_pipeline.cli.request import Request
from dynamic_pipeline.cli.task import Task
from dynamic_pipeline.errors import SourceError, UsageError
from dynamic_pipeline.pacing import PROFILES
from dynamic_pipeline.records import Format
from dynamic_pipeline.stop import Stop
from dynamic_pipeline.templates import ANY_NAMES, CommandTemplate, LineTemplate, ShellTemplate, Template
from dynamic_pipeline.views.endings import Describe
from dynamic_pipeline.work.command import CommandWork

if TYPE_CHECKING:
    from dynamic_pipeline.cli.journaling import Journal
    from dynamic_pipeline.sources.lines import LineSource


@dataclass
class Plan:
    """What is to be run, with nothing to be refused any more; its `task` is made when the rest is open."""

    reports: ReportFiles
    task: Callable[[Journal | None], Task]  # raises UsageError, OSError: about the folder for outputs
    record_format: Format | None = None  # None: the simulation
    abandon: Callable[[], object] = bool  # if there will be no task


def plan(request: Request, settings: Settings, stop: Stop) -> Plan:
    """Source and work for *request*; nothing is created on disk but the folder that `--output` names.

    Raises:
        UsageError: an input cannot be read, a function cannot be found, … OSError: no such folder can be made.
    """
    run_id = f"{datetime.now().astimezone():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    check_reports(request)
    reports = ReportFiles(request, run_id, settings.journal.state_dir)
    if request.is_simulation:
        engine = open_engine(request, settings, run_id)
        task = _plan_simulation(request, settings, stop, reports, engine)
        return Plan(reports, lambda _: task, abandon=engine.close)
    source = open_source(request, stop)
    record_format = format_of(request)
    reports.records_are(record_format, getattr(source, "headers", {}))
    if request.call is not None:
        call = _Call.of(request)
        reports.describe = call.describe
        engine = open_engine(request, settings, run_id, call.fn)
        return Plan(
            reports,
            lambda journal: call.task(source, stop, reports, journal, engine),
            record_format,
            engine.close,
        )
    template = make_template(request, source)
    reports.describe = template.display
    output = plan_output(request, stop)
    try:
        engine = open_engine(request, settings, run_id)
    except BaseException:
        output.after_work()
        raise

    def make_task(journal: Journal | None) -> Task:
        return _plan_commands(template, settings, output, source, stop, reports, journal, engine)

    def abandon() -> None:
        engine.close()
        output.after_work()

    return Plan(reports, make_task, record_format, abandon)


class _Call(NamedTuple):
    """A function of the user's."""

    fn: Callable[[Any], Any]
    name: str
    returns_json: bool
    where: str
    describe: Describe

    @classmethod
    def of(cls, request: Request) -> _Call:
        from dynamic_pipeline.work.callable import resolve  # noqa: PLC0415 - not needed for commands

        name = str(request.call)
        fn = resolve(name)
        where = getattr(sys.modules.get(getattr(fn, "__module__", "")), "__file__", None) or "built in"
        is_json = request.results is not None
        return cls(fn, name, is_json, f"calling {name} of {where}", describe_call(name))

    def work(self, engine: Engine) -> Work:
        from dynamic_pipeline.work.callable import CallByName, call_with_record, returning_json  # noqa: PLC0415 - same

        if engine.elsewhere is not None:
            return engine.elsewhere(CallByName(self.name, str(Path.cwd()), returns_json=self.returns_json))
        return call_with_record(returning_json(self.fn) if self.returns_json else self.fn)

    def task(
        self, source: LineSource, stop: Stop, reports: ReportFiles, journal: Journal | None, engine: Engine
    ) -> Task:
        from dynamic_pipeline.sinks.prints import PrintsSink  # noqa: PLC0415 - not needed for commands

        records = source if journal is None else journal.source_of(source, stop)
        sinks, notes = (PrintsSink(), *engine.sinks), (self.where, *engine.notes)
        work = self.work(engine)
        return Task(reports.run_id, records, work, True, sinks, notes, reports, engine, journal=journal)


def _plan_commands(
    template: Template,
    settings: Settings,
    output: OutputPlan,
    source: LineSource,
    stop: Stop,
    reports: ReportFiles,
    journal: Journal | None,
    engine: Engine,
) -> Task:
    if output.kept is not None:
        is_resumed = journal is not None and journal.is_resumed
        output.kept.begin(is_resumed=is_resumed)
        if journal is not None and is_resumed:
            output.kept.adopt(journal.earlier_runs(), journal.is_over)
    commands = engine.commands(
        run_id=reports.run_id,
        kill_grace_s=settings.shutdown.kill_grace,
        timeout_s=settings.pipeline.timeout,
        folder=output.folder,
        in_memory=output.in_memory,
        started=None if journal is None else journal.note_pid,
    )
    work = CommandWork(template, commands, key_of=None if journal is None else journal.key_of)
    return Task(
        reports.run_id,
        output.paced(source if journal is None else journal.source_of(source, stop)),
        work,
        True,
        (output.sink, *engine.sinks),
        (*engine.notes, *((f"warning: {template.risk}",) if template.risk else ())),
        reports,
        engine,
        output.after_work,
        journal=journal,
    )


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


def _plan_simulation(
    request: Request, settings: Settings, stop: Stop, reports: ReportFiles, engine: Engine
) -> Task:
    from dynamic_pipeline.sources.synthetic import SyntheticSource  # noqa: PLC0415 - not needed for real work
    from dynamic_pipeline.work.simulated import SimulatedWork  # noqa: PLC0415 - same

    duration_s = None
    if request.duration is not None:
        try:
            duration_s = pipeline_config.parse_duration(request.duration)
        except pipeline_config.DurationError as error:
            raise UsageError(f"--duration: {error}", hint=error.hint or "") from None
    name = settings.load.profile
    try:
        profile = PROFILES[name].scaled(1.0 if request.time_scale is None else request.time_scale)
    except ValueError as error:
        raise UsageError(f"--time-scale: {error}") from None
    source = SyntheticSource(profile, stop, jobs=request.jobs, duration_s=duration_s)
    work: Work = SimulatedWork(request.luck, profile.job_s, settings.pipeline.failure_rate)
    work = work if engine.elsewhere is None else engine.elsewhere(work)
    notes = (f"simulated workload: profile {name}, seed {request.luck}", *foresee(settings, profile))
    notes = (*engine.notes, *notes)
    return Task(reports.run_id, source, work, False, engine.sinks, notes, reports, engine)
