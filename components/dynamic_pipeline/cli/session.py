"""One run from the command line: everything between a `Request` and an exit code."""

from __future__ import annotations

import os
import signal
import sys

from pipeline_config import ConfigError, Settings

from dynamic_pipeline.cli.console import (
    STDERR,
    STDOUT,
    open_standard_streams,
    refuse,
    with_hint,
    write_stderr,
)
from dynamic_pipeline.cli.dry_run import dry_run
from dynamic_pipeline.cli.foresight import foresee
from dynamic_pipeline.cli.github import tell_github
from dynamic_pipeline.cli.in_turn import in_turn
from dynamic_pipeline.cli.log_targets import log_path, open_log
from dynamic_pipeline.cli.outside import Outside
from dynamic_pipeline.cli.plan import plan
from dynamic_pipeline.cli.policy import Rules, make_rules
from dynamic_pipeline.cli.request import Request
from dynamic_pipeline.cli.settings import load_settings
from dynamic_pipeline.cli.task import Task
from dynamic_pipeline.cli.watching import LiveView, has_view
from dynamic_pipeline.descriptors import keep_to_ourselves
from dynamic_pipeline.errors import IoFault, OutputError, StoppedEarly, UsageError
from dynamic_pipeline.lifecycle import INTERNAL, IO_FAULT, LOCKED, OK, READER_GONE, USAGE
from dynamic_pipeline.owned_thread import OwnedThread
from dynamic_pipeline.signals import SignalInbox
from dynamic_pipeline.sinks.log import LogSink
from dynamic_pipeline.stop import Stop
from dynamic_pipeline.summary import Summary
from dynamic_pipeline.views.escape import escape
from dynamic_pipeline.views.summary import summary_lines
from dynamic_pipeline.wiring import Run

_LAST_WORDS_S = 0.3  # how long the end is told where something already did not end in time


def run_session(request: Request) -> int:  # noqa: C901, PLR0911 - one way out per kind of mistake
    """Do what *request* asks for and return the exit code.

    May not return at all: a third signal, or a job that cannot be ended, leaves by `os._exit`.
    """
    open_standard_streams()
    keep_to_ourselves()
    try:
        request.check()
        loaded = load_settings(request)
        settings = loaded.settings
        stop = Stop()
        if request.is_dry_run:
            return dry_run(request, stop)
        rules = make_rules(request, settings)
        outside = Outside(request, settings)
        planned = plan(request, settings, stop)
    except ConfigError as error:
        return refuse(str(error))
    except KeyboardInterrupt:  # while waiting for the header of a pipe
        return 128 + signal.SIGINT
    except OSError as error:
        return refuse(f"pipeline: error: no folder for the jobs' output: {error.strerror}", IO_FAULT)
    except (UsageError, IoFault) as error:
        return _refuse(error)
    signals = SignalInbox()
    signals.open()  # before there is a log: who sees it may send signals that stop the run in order
    journal = None
    try:
        if planned.record_format is not None and settings.journal.durability != "off":
            from dynamic_pipeline.cli.journaling import open_journal  # noqa: PLC0415 - brings SQLite

            journal = open_journal(
                request,
                loaded,
                planned.reports.run_id,
                planned.record_format,
                stop_signal=signals.pending,
                tell=write_stderr,
            )
            planned.reports.can_resume = "-" not in (request.inputs or ("-",))
        task = planned.task(journal)
    except StoppedEarly as stopped:
        planned.abandon()
        return 128 + stopped.signum
    except (UsageError, IoFault, OSError) as error:
        planned.abandon()
        if journal is not None:
            journal.abandon()
        is_skipped = getattr(error, "exit_code", None) == LOCKED and request.if_locked == "skip"
        return OK if is_skipped else _refuse(error)
    task.is_silent, task.retries_failed = request.is_silent, request.retries_failed
    has_one = has_view(request, settings, fd=STDERR if task.is_real else STDOUT)
    view = LiveView(request, settings, task, log_path(settings)) if has_one else None
    try:
        log = open_log(settings, task, view, is_quiet=request.is_quiet, is_silent=request.is_silent)
    except OSError as error:
        task.abandon()
        path = log_path(settings)
        hint = "--state-dir DIR puts it elsewhere"
        return refuse(
            with_hint(f"pipeline: error: {escape(path)}: cannot be opened: {error.strerror}", hint), IO_FAULT
        )
    try:
        task.reports.open()
        outside.open()
        task.outside = outside
    except OutputError as error:
        task.abandon()
        return refuse(f"pipeline: error: {escape(str(error))}", IO_FAULT)
    return conduct(task, settings, rules, stop, log, signals, view)


def _refuse(error: Exception) -> int:
    """One line, the way out, and the code that goes with it."""
    code = USAGE if isinstance(error, UsageError) else getattr(error, "exit_code", IO_FAULT)
    text = f"no folder for the jobs' output: {error.strerror}" if isinstance(error, OSError) else str(error)
    return refuse(with_hint(f"pipeline: error: {escape(text)}", getattr(error, "hint", "")), code)


def conduct(
    task: Task,
    settings: Settings,
    rules: Rules,
    stop: Stop,
    log: LogSink,
    signals: SignalInbox,
    view: LiveView | None,
) -> int:
    """Run, with the main thread waiting for signals only; then tell how it went."""
    log.note("INFO", f"run {task.run_id}, log {log_path(settings)}")
    foreseen = foresee(settings) if task.is_real else []
    journal = task.journal
    for note in (
        *(journal.notes if journal is not None else ()),
        *task.notes,
        *foreseen,
        *task.outside.notes,
    ):
        log.note("WARNING" if note.startswith("warning: ") else "INFO", note)
    if journal is not None:
        journal.begin(retry_failed=task.retries_failed)
    # The line that says a job was handled comes when its output has been written, and so do the rows of reports.
    sinks = [*task.outside.sinks, *task.reports.sinks, *in_turn(task.sinks, task.reports.sinks_after), log]
    if view is not None:
        view.above((*task.sinks, *task.reports.sinks_after))
        sinks = view.around(sinks)
    started = Run(
        task.work,
        task.source if task.reports.trace is None else task.reports.trace.watch(task.source),
        policy=rules.scaling,
        retry=rules.retry,
        check_interval_s=settings.pipeline.check_interval,
        queue_capacity=settings.pipeline.queue_capacity,
        sinks=sinks,
        drain_all=settings.shutdown.drain == "all",
        drain_timeout_s=settings.shutdown.drain_timeout,
        kill_grace_s=settings.shutdown.kill_grace,
        halt=rules.halt,
        breaker=rules.breaker,
        is_overload=rules.is_overload,
        journal=journal,
        call_timeout_s=None if task.keeps_time else settings.pipeline.timeout,
        stop=stop,
        on_end=signals.wake,
    ).start()
    task.outside.begin(started, task.run_id, None if journal is None else journal.path)
    if view is not None:
        view.begin(started)

    def drop() -> None:
        if view is not None:
            view.screen.leave()
        task.drop()

    started.obey(signals, last_resort=drop)
    summary = started.result()
    if view is not None:
        view.close()
    if summary.is_abandoned or summary.is_mute:
        task.kill()
    task.close()
    code = _speak(task, summary, log, signals)
    signals.stop_listening()
    return code


def _speak(task: Task, summary: Summary, log: LogSink, signals: SignalInbox) -> int:
    """The last words, on a thread of their own: whoever should read them may have stalled, and signals count."""
    code = summary.exit_code
    crash: list[BaseException] = []

    def speak() -> None:
        nonlocal code
        try:
            if not is_hurried:
                code = _flush_stdout(code)
            code, problems = task.reports.finish(summary, code)
            if task.journal is not None:
                code, more = task.journal.finish(summary, code, _LAST_WORDS_S if is_hurried else None)
                problems = [*problems, *more]
            _tell_end(task, summary, code, log, problems)
            if is_hurried:
                code = _flush_stdout(code)
        finally:
            signals.wake()

    is_hurried = summary.is_mute or (summary.is_abandoned and (summary.unfinished > 0 or code == INTERNAL))
    speaking = OwnedThread("last-words", speak, lambda _, error: crash.append(error))
    speaking.start()
    if is_hurried:  # the interpreter would wait for the thread that does not end
        speaking.join(_LAST_WORDS_S)
        os._exit(code)
    for stage, signum in signals:
        if stage > 1:
            os._exit(128 + signum)
    speaking.join()
    if crash:
        raise crash[0]
    if summary.is_abandoned:  # by an overdue call: the interpreter would wait for it
        os._exit(code)
    return code


def _tell_end(task: Task, summary: Summary, code: int, log: LogSink, problems: list[str]) -> None:
    for remark in (*task.remarks(), *task.outside.end(code)):
        log.say("WARNING", remark)
    if summary.error is not None and not (
        isinstance(summary.error, OutputError) and summary.error.reader_gone
    ):
        problems = [str(summary.error) or repr(summary.error), *problems]
    lines = [f"pipeline: error: {escape(problem)}" for problem in problems]
    if task.is_real:
        elapsed_s, again = task.reports.elapsed_s, task.reports.again()
        if task.journal is not None and (summary.unfinished or not summary.is_source_complete):
            again = [*again, "go on with what was not run: the same command with --resume"]
        if problem := tell_github(summary, code, elapsed_s, again):
            lines.append(problem)
        lines = list(summary_lines(summary, code, elapsed_s, again=again, problems=lines))
    if lines:
        if code or not task.is_silent:
            write_stderr("\n".join(lines))
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
    os.dup2(os.open(os.devnull, os.O_WRONLY), STDOUT)  # or the interpreter tries again as it exits
    return code
