"""Commands on a Dask cluster: filled here, run by its workers, their outputs brought back as data."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from functools import cache
from pathlib import Path

from distributed import Client

from dynamic_pipeline import spool_folder
from dynamic_pipeline.attempts import Attempt
from dynamic_pipeline.descriptors import keep_to_ourselves
from dynamic_pipeline.errors import AttemptFailed, Interrupted, IoFault, PermanentError
from dynamic_pipeline.executors.dask import DaskWork
from dynamic_pipeline.executors.dask_task import when_unwanted
from dynamic_pipeline.executors.elsewhere import FailedElsewhere
from dynamic_pipeline.executors.reaper import Reaper
from dynamic_pipeline.jobs import Job
from dynamic_pipeline.reports import CommandReport, LostOutput
from dynamic_pipeline.spool import IN_MEMORY
from dynamic_pipeline.work.local_commands import CommandFailed, Filled, LocalCommands, OutputLost

MOST_BYTES = 16 << 20  # of one stream: it crosses the network, and the memory of the scheduler


class DaskCommands:
    """Runs commands on the cluster; the arguments as those of `LocalCommands`.

    A command runs in the folder in which this program was started, and its environment is that of the worker. It is
    ended when the run is forced to stop, and when the program, the scheduler or its own worker is gone.
    """

    def __init__(
        self,
        client: Client,
        *,
        run_id: str,
        kill_grace_s: float,
        timeout_s: float | None = None,
        folder: str | None = None,
        in_memory: int = IN_MEMORY,
        started: Callable[[int, int, int], object] | None = None,  # noqa: ARG002 - a pid there says nothing here
    ) -> None:
        there = CommandThere(run_id, kill_grace_s, timeout_s, str(Path.cwd()))
        self._work = DaskWork(there, client, kill_grace_s=kill_grace_s)
        self.abort = self._work.abort
        self._folder = spool_folder.make(run_id, folder)
        self._in_memory = in_memory

    def run(self, command: Filled, attempt: Attempt) -> CommandReport:
        """One attempt. Raises as `LocalCommands.run` does."""
        sent = Attempt(Job(attempt.job.id, command), attempt.number)
        try:
            report: CommandReport = self._work(sent)
        except (FailedElsewhere, Interrupted) as error:
            if isinstance(error.value, CommandReport):
                error.value = self._here(error.value, attempt)
            raise
        return self._here(report, attempt)

    def _here(self, report: CommandReport, attempt: Attempt) -> CommandReport:
        """Its outputs where those of commands of this machine are, so that thousands may wait to be shown."""
        stem = os.path.join(self._folder, f"{attempt.job.id}.{attempt.number}")  # noqa: PTH118 - per job
        try:
            stdout = report.stdout.put_down(f"{stem}.out", self._in_memory)
            stderr = report.stderr.put_down(f"{stem}.err", self._in_memory)
        except OSError as error:
            lost = OutputLost("the output of the command is lost", self._folder)
            lost.value = LostOutput(f"{self._folder}: {error.strerror}")
            raise lost from error
        return report._replace(stdout=stdout, stderr=stderr)

    def when_lost(self, tell: Callable[[IoFault], object]) -> None:
        self._work.when_lost(tell)

    def kill(self) -> None:
        """The last resort: what runs is ended by the workers, which see that nobody waits any more."""

    def close(self) -> None:
        """Remove the folder of the outputs. Call it after the run has ended."""
        self._work.close()
        shutil.rmtree(self._folder, ignore_errors=True)


class TooMuchOutput(AttemptFailed, PermanentError):
    """More than can be brought back."""


class NoSuchFolder(AttemptFailed, PermanentError):
    """The machine does not share the folder in which the run was started."""


class CommandThere:
    """Runs a command on the worker of the cluster that calls it."""

    def __init__(self, run_id: str, kill_grace_s: float, timeout_s: float | None, folder: str) -> None:
        self._run_id, self._kill_grace_s, self._timeout_s = run_id, kill_grace_s, timeout_s
        self._folder = folder  # of the program

    def __call__(self, attempt: Attempt) -> CommandReport:
        if not os.path.isdir(self._folder):  # noqa: PTH112 - text
            raise NoSuchFolder(
                f"the folder of the run, {self._folder}, is not there on {socket.gethostname()}"
            )
        reaper = _reaper()
        pids: list[int] = []

        def note(job_id: int, number: int, pid: int) -> None:  # noqa: ARG001 - as `LocalCommands` tells it
            pids.append(pid)
            reaper.note(pid)

        commands = LocalCommands(
            run_id=self._run_id,
            kill_grace_s=self._kill_grace_s,
            timeout_s=self._timeout_s,
            in_memory=MOST_BYTES,
            started=note,
            noted_after_s=0.0,  # the worker may be killed at any moment, and its job begin again elsewhere
            cwd=None if self._folder == os.getcwd() else self._folder,  # noqa: PTH109 - text
        )
        reaper.keep(commands.folder)
        try:
            with when_unwanted(commands.abort):
                return _small(commands.run(attempt.job.payload, attempt))
        except CommandFailed as error:
            if error.value is not None:
                _small(error.value)
            raise
        finally:
            for pid in pids:
                reaper.forget(pid)
            commands.close()
            reaper.drop(commands.folder)


def _small(report: CommandReport) -> CommandReport:
    for name, spool in (("stdout", report.stdout), ("stderr", report.stderr)):
        if spool.size > MOST_BYTES:
            text = f"it wrote {spool.size} bytes to {name}; a cluster brings back {MOST_BYTES} at the most"
            raise TooMuchOutput(f"{text}: redirect them into a file that all machines share")
    return report


@cache
def _reaper() -> Reaper:
    keep_to_ourselves()  # what this process has open is no business of commands
    return Reaper()
