"""One run from the command line: everything between a `Request` and an exit code."""

from __future__ import annotations

import contextlib
import os
import random
import secrets
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pipeline_config
from pipeline_config import ConfigError, Override, Settings

from dynamic_pipeline.attempts import Work
from dynamic_pipeline.cli.request import Request
from dynamic_pipeline.collector import Sink
from dynamic_pipeline.errors import OutputError, UsageError
from dynamic_pipeline.lifecycle import IO_FAULT, READER_GONE, USAGE
from dynamic_pipeline.pacing import PROFILES
from dynamic_pipeline.retry import RetryPolicy
from dynamic_pipeline.scaling import FixedScaling, ScalingPolicy, ThresholdScaling
from dynamic_pipeline.signals import SignalInbox
from dynamic_pipeline.sinks.log import LogSink, LogTarget
from dynamic_pipeline.stop import Stop
from dynamic_pipeline.summary import Summary
from dynamic_pipeline.views.escape import escape
from dynamic_pipeline.views.summary import summary_lines
from dynamic_pipeline.wiring import Run
from dynamic_pipeline.work.command import CommandWork

_STDOUT, _STDERR = 1, 2


def run_session(request: Request) -> int:
    """Do what *request* asks for and return the exit code.

    May not return at all: a third signal, or a job that cannot be ended, leaves by `os._exit`.
    """
    open_standard_streams()
    try:
        request.check()
        settings = load_settings(request)
        stop = Stop()
        task = plan(request, settings, stop)
    except ConfigError as error:
        return _refuse(str(error))
    except OSError as error:
        return _refuse(f"pipeline: error: no folder for the jobs' output: {error.strerror}", IO_FAULT)
    except UsageError as error:
        return _refuse(_with_hint(f"pipeline: error: {escape(str(error))}", error.hint))
    try:
        log = open_log(settings, task)
    except OSError as error:
        task.close()
        path = log_path(settings)
        hint = "--state-dir DIR puts it elsewhere"
        return _refuse(
            _with_hint(f"pipeline: error: {escape(path)}: cannot be opened: {error.strerror}", hint), IO_FAULT
        )
    return conduct(task, settings, stop, log)


@dataclass
class Task:
    """What is to be run, and how it shows."""

    run_id: str
    source: Iterable[Any]
    work: Work
    is_real: bool  # records of the user's: the jobs own stdout, and the end is told
    sinks: Sequence[Sink]
    notes: Sequence[str]  # for the log, before the first job

    def close(self) -> None:
        if isinstance(self.work, CommandWork):
            self.work.close()

    def kill(self) -> None:
        if isinstance(self.work, CommandWork):
            self.work.kill()


def load_settings(request: Request) -> Settings:
    """The settings in force.

    Raises:
        ConfigError: with every mistake in every layer.
    """
    overrides = [Override(key, text, option) for key, (option, text) in request.options.items()]
    if request.fixed_workers is not None:
        overrides += [
            Override("pipeline.max_workers", request.fixed_workers, "-j"),
            Override("scaling.policy", "fixed", "-j"),
        ]
    overrides += [Override.from_set(text) for text in request.sets]
    return pipeline_config.load(request.config, overrides=overrides).settings


def plan(request: Request, settings: Settings, stop: Stop) -> Task:
    """Source and work for *request*; nothing is created on disk but the folder for the jobs' output.

    Raises:
        UsageError: an input cannot be read, a function cannot be found, …
    """
    run_id = f"{datetime.now().astimezone():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    if request.is_simulation:
        return _plan_simulation(request, settings, stop, run_id)
    from dynamic_pipeline.sources.lines import LineSource  # noqa: PLC0415 - not needed for the simulation

    source = LineSource(request.inputs or ("-",), stop)
    if request.call is not None:
        from dynamic_pipeline.work.callable import call_with_text, resolve  # noqa: PLC0415 - same

        fn = resolve(request.call)
        where = getattr(sys.modules.get(getattr(fn, "__module__", "")), "__file__", None) or "built in"
        return Task(run_id, source, call_with_text(fn), True, (), (f"calling {request.call} of {where}",))
    from dynamic_pipeline.sinks.output import OutputSink  # noqa: PLC0415 - same

    work = CommandWork(request.command, run_id=run_id, kill_grace_s=settings.shutdown.kill_grace)
    return Task(run_id, source, work, True, (OutputSink(),), ())


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


def log_path(settings: Settings) -> str:
    return os.path.join(os.path.abspath(settings.journal.state_dir), "pipeline.log")  # noqa: PTH100, PTH118 - text


def open_log(settings: Settings, task: Task) -> LogSink:
    """The console and the file. The console is stderr when stdout belongs to the jobs.

    Raises:
        OSError: the file cannot be opened.
    """
    name, fd, stream = ("stderr", _STDERR, sys.stderr) if task.is_real else ("stdout", _STDOUT, sys.stdout)
    console = LogTarget(name, fd, getattr(stream, "encoding", None) or "utf-8")
    file = LogTarget.open_file(log_path(settings))
    return LogSink([console, file], as_json=settings.log.format == "json", run_id=task.run_id)


def make_policy(settings: Settings) -> ScalingPolicy:
    pipeline = settings.pipeline
    if settings.scaling.policy == "fixed":
        return FixedScaling(pipeline.max_workers)
    return ThresholdScaling(
        pipeline.min_workers, pipeline.max_workers, pipeline.grow_threshold, pipeline.shrink_threshold
    )


def conduct(task: Task, settings: Settings, stop: Stop, log: LogSink) -> int:
    """Run, with the main thread waiting for signals only; then tell how it went."""
    signals = SignalInbox()
    signals.open()
    log.say("INFO", f"run {task.run_id}, log {log_path(settings)}")
    for note in task.notes:
        log.say("INFO", note)
    started = Run(
        task.work,
        task.source,
        policy=make_policy(settings),
        retry=RetryPolicy(settings.pipeline.max_retries),
        check_interval_s=settings.pipeline.check_interval,
        queue_capacity=settings.pipeline.queue_capacity,
        # Output first: the line that says a job was handled comes when its output has been written.
        sinks=[*task.sinks, log],
        drain_all=settings.shutdown.drain == "all",
        drain_timeout_s=settings.shutdown.drain_timeout,
        kill_grace_s=settings.shutdown.kill_grace,
        stop=stop,
        on_end=signals.wake,
    ).start()
    started.obey(signals, last_resort=task.kill)
    summary = started.result()
    if summary.is_abandoned or summary.is_mute:
        task.kill()
    task.close()
    if summary.is_mute:  # the one who does not read what we wrote would not read our last words either
        os._exit(summary.exit_code)
    code = _flush_stdout(summary.exit_code)
    _tell_end(task, summary, code, log)
    if summary.is_abandoned:
        os._exit(code)  # the interpreter would wait for the thread that does not end
    signals.stop_listening()
    return code


def _tell_end(task: Task, summary: Summary, code: int, log: LogSink) -> None:
    lines = list(summary_lines(summary, code)) if task.is_real else []
    if summary.error is not None and not (
        isinstance(summary.error, OutputError) and summary.error.reader_gone
    ):
        lines.append(f"pipeline: error: {escape(str(summary.error) or repr(summary.error))}")
    if lines:
        _write_stderr("\n".join(lines))
        log.leave("stderr")
        for line in lines:
            log.say("INFO" if code == 0 else "ERROR", line)


def _flush_stdout(code: int) -> int:
    """What Python code of the jobs printed may still sit in a buffer; losing it must not end with 0."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        code = READER_GONE if code in (0, 1) else code
    except OSError:
        code = IO_FAULT if code in (0, 1) else code
    else:
        return code
    os.dup2(os.open(os.devnull, os.O_WRONLY), _STDOUT)  # or the interpreter tries again as it exits
    return code


def open_standard_streams() -> None:
    """Make sure that 0, 1 and 2 are open, or the next file we open would become the jobs' stdout."""
    for fd in (0, _STDOUT, _STDERR):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is `fd`


def _refuse(text: str, code: int = USAGE) -> int:
    _write_stderr(text)
    return code


def _with_hint(text: str, hint: str) -> str:
    return f"{text}\n  hint: {hint}" if hint else text


def _write_stderr(text: str) -> None:
    with contextlib.suppress(OSError):  # nobody may be there to be told
        LogTarget("stderr", _STDERR, getattr(sys.stderr, "encoding", None) or "utf-8").write(text + "\n")
