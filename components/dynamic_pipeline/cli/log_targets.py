"""Where the log of a run goes."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from pipeline_config import Settings

from dynamic_pipeline.cli.console import STDERR, STDOUT
from dynamic_pipeline.cli.task import Task
from dynamic_pipeline.sinks.log import INFO, WARNING, LogSink, LogTarget

if TYPE_CHECKING:
    from dynamic_pipeline.cli.watching import LiveView


def log_path(settings: Settings) -> str:
    return os.path.join(os.path.abspath(settings.journal.state_dir), "pipeline.log")  # noqa: PTH100, PTH118 - text


def open_log(
    settings: Settings,
    task: Task,
    view: LiveView | None = None,
    *,
    is_quiet: bool = False,
    is_silent: bool = False,
) -> LogSink:
    """The console and the file. The console is stderr when stdout belongs to the jobs; quiet, it only warns;
    silent, it is not there; with a live view its lines go above that, which tells the progress better.

    Raises:
        OSError: the file cannot be opened.
    """
    name, fd, stream = ("stderr", STDERR, sys.stderr) if task.is_real else ("stdout", STDOUT, sys.stdout)
    encoding = getattr(stream, "encoding", None) or "utf-8"
    console = LogTarget(name, fd, encoding, least=WARNING if is_quiet else 0)
    if view is not None:
        console = LogTarget(name, fd, encoding, least=INFO, away=view.screen.away)
    file = LogTarget.open_file(log_path(settings))
    return LogSink(
        [file] if is_silent else [console, file], as_json=settings.log.format == "json", run_id=task.run_id
    )
