"""Running a command: no shell, a session of its own, output into files."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
from collections.abc import Callable, Sequence
from time import time
from typing import NamedTuple

from dynamic_pipeline import spool_folder
from dynamic_pipeline.attempts import Attempt
from dynamic_pipeline.errors import AttemptFailed, Interrupted, PermanentError
from dynamic_pipeline.process_group import ProcessGroup
from dynamic_pipeline.reports import CommandReport, LostOutput
from dynamic_pipeline.spawning import spawn
from dynamic_pipeline.spool import IN_MEMORY, Spool

# To write a process down costs a third of what a short command does. One that would outlive this program before it was
# written down is found by the run's id in its environment.
NOTED_AFTER_S = 0.02
_MOST_FILES = 1000  # commands whose place is remembered; their names may come from the records
_NO_RETRY = {126: "not executable", 127: "not found"}  # exit codes of shells: trying again cannot help


class CommandFailed(AttemptFailed):
    """The command could not be started, or did not end with 0."""

    value: CommandReport | None = None  # None: the record was bad, and there was no command


class CommandFailedForGood(CommandFailed, PermanentError):
    """The same, and another try would fail as well."""


class OutputLost(AttemptFailed, PermanentError):
    """Somebody has removed the files or the folder that commands write to; `OutputSink` ends the run for it."""

    def __init__(self, text: str, path: str | None) -> None:
        super().__init__(text)
        self.value = LostOutput(f"{path} has been removed")


class Filled(NamedTuple):
    """A command that is ready to run."""

    argv: Sequence[bytes]
    slot: int  # no other that runs has it
    key: str  # what its record is known by in every run, in hex; empty: nobody knows


class LocalCommands:
    """Runs commands on this machine.

    Called by many workers at once. `abort` may be called by any thread; it ends what runs and what would
    still start.
    """

    keeps_time = True  # `--timeout` is seen to here

    def __init__(
        self,
        *,
        run_id: str,
        kill_grace_s: float,
        timeout_s: float | None = None,
        folder: str | None = None,
        in_memory: int = IN_MEMORY,
        started: Callable[[int, int, int], object] | None = None,
        noted_after_s: float | None = None,
        cwd: str | None = None,
    ) -> None:
        """*folder* is where the folder for outputs is made; *in_memory* see `Spool`.

        *started* hears of each process that is not over after *noted_after_s* seconds (None: `NOTED_AFTER_S`): job,
        attempt, pid. *cwd* is where commands run, if not where this process does.
        """
        self._started, self._noted_after_s = started, noted_after_s
        self._cwd = None if cwd is None else os.fsencode(cwd)
        self._in_memory = in_memory
        self._kill_grace_s = kill_grace_s
        self._timeout_s = timeout_s  # of one attempt
        self._env = _environment(run_id)
        self.folder = spool_folder.make(run_id, folder)  # of outputs
        self._wake_fd, self._abort_fd = os.pipe()  # closing the writing end wakes every worker's poll
        self._files: dict[bytes, bytes] = {}  # by the name of a command; see `_find`
        self._is_aborted = False
        self._is_killed = False
        self._pids: set[int] = set()  # of unreaped leaders; for the last resort only

    def run(self, command: Filled, attempt: Attempt) -> CommandReport:
        """One attempt: start, wait, reap.

        Raises:
            CommandFailed: with the report. Interrupted: the run was forced to stop.
            OutputLost: its output has nowhere to go, or has gone.
        """
        if self._is_aborted:
            raise Interrupted("not started")
        stem = os.path.join(self.folder, f"{attempt.job.id}.{attempt.number}")  # noqa: PTH118 - per job
        stdout, stderr = Spool(stem + ".out", self._in_memory), Spool(stem + ".err", self._in_memory)
        try:
            error, report = self._attempt(
                command, attempt, CommandReport(stdout, stderr, command.slot, time(), 126)
            )
        except BaseException:
            stdout.discard()
            stderr.discard()
            raise
        if error is None:
            return report
        error.value = report
        raise error

    def _attempt(
        self, command: Filled, attempt: Attempt, report: CommandReport
    ) -> tuple[CommandFailed | Interrupted | None, CommandReport]:
        """What went wrong, and the report."""
        group = self._start(command, attempt, report)
        if not isinstance(group, ProcessGroup):
            failure, code = _start_failure(command.argv, group)
            report.stdout.discard()
            report.stderr.discard()
            return failure, report._replace(code=code)
        try:
            was_ended = self._wait(group, attempt)
            code = group.reap()
        except BaseException:  # a fault of ours; nobody else knows of the process
            group.destroy()
            raise
        try:
            report.stdout.seal()
            report.stderr.seal()
        except FileNotFoundError as error:
            raise OutputLost("the output of the command is lost", error.filename) from error
        report = report._replace(code=code, has_left_some=group.has_members())
        if was_ended and self._is_aborted:
            return Interrupted("ended by the forced stop"), report
        if was_ended:  # also if it answered TERM with an exit 0: nobody knows how far it was
            return CommandFailed(f"timeout after {self._timeout_s:g} s"), report._replace(is_timeout=True)
        if code:
            return (CommandFailedForGood if code in _NO_RETRY else CommandFailed)(describe_code(code)), report
        return None, report

    def _start(
        self, command: Filled, attempt: Attempt, report: CommandReport
    ) -> ProcessGroup | OSError | ValueError:
        env = [
            *self._env,
            b"PIPELINE_JOB_ID=%d" % attempt.job.id,
            b"PIPELINE_JOB_ATTEMPT=%d" % attempt.number,
            b"PIPELINE_JOB_SLOT=%d" % command.slot,
        ]
        if command.key:
            env.append(b"PIPELINE_JOB_KEY=%s" % command.key.encode())
        files = report.stdout.hand_out(), report.stderr.hand_out()
        try:
            return ProcessGroup(spawn(self._find(command.argv[0]), command.argv, env, *files, self._cwd))
        except ValueError as error:
            return error
        except OSError as error:
            if not report.stderr.is_made:  # the last thing before the program, so that was not reached
                if isinstance(error, (FileNotFoundError, NotADirectoryError)):
                    raise OutputLost("not started: its output has nowhere to go", self.folder) from error
                return OSError(None, error.strerror)  # not what the program's name is to be blamed for
            return error

    def _find(self, name: bytes) -> bytes:
        """The file that *name* stands for. Found once: the kernel would try each folder of PATH for each job."""
        if name not in self._files and len(self._files) < _MOST_FILES:
            self._files[name] = shutil.which(name) or name
        return self._files.get(name, name)

    def _wait(self, group: ProcessGroup, attempt: Attempt) -> bool:
        """Wait for the end of the leader; True: it was us who ended it."""
        self._pids.add(group.pid)
        if self._is_killed:  # add, then look: `kill` marks, then reads the set
            group.send(signal.SIGKILL)
        try:
            timeout_s = self._timeout_s
            noted_after_s = NOTED_AFTER_S if self._noted_after_s is None else self._noted_after_s
            if self._started is not None and (timeout_s is None or timeout_s > noted_after_s):
                if noted_after_s and group.wait(self._wake_fd, noted_after_s):
                    return False
                self._started(attempt.job.id, attempt.number, group.pid)
                timeout_s = timeout_s and timeout_s - noted_after_s
            if group.wait(self._wake_fd, timeout_s):
                return False
            group.end(self._kill_grace_s)
            return True
        finally:
            self._pids.discard(group.pid)  # before it is reaped: a number in the set is never a stranger's

    def abort(self) -> None:
        """End all running commands: TERM to each group, the grace, KILL. Returns at once."""
        if not self._is_aborted:
            self._is_aborted = True
            os.close(self._abort_fd)

    def kill(self) -> None:
        """The last resort, before the process leaves at once: KILL to every group."""
        self._is_killed = True
        for pid in tuple(self._pids):
            with contextlib.suppress(OSError):
                os.killpg(pid, signal.SIGKILL)

    def close(self) -> None:
        """Remove the folder of the outputs. Call it after the run has ended."""
        shutil.rmtree(self.folder, ignore_errors=True)
        for fd in (self._wake_fd,) if self._is_aborted else (self._wake_fd, self._abort_fd):
            os.close(fd)


def _environment(run_id: str) -> list[bytes]:
    """Of a command, less what differs from job to job: a name that stands twice would be the first."""
    ours = (
        b"PIPELINE_RUN_ID",
        b"PIPELINE_JOB_ID",
        b"PIPELINE_JOB_ATTEMPT",
        b"PIPELINE_JOB_SLOT",
        b"PIPELINE_JOB_KEY",
    )
    kept = [b"%s=%s" % entry for entry in os.environb.items() if entry[0] not in ours]
    return [*kept, b"PIPELINE_RUN_ID=" + os.fsencode(run_id)]


def describe_code(code: int) -> str:
    """An exit code, or minus the signal that ended a process, for people."""
    if code >= 0:
        why = _NO_RETRY.get(code)
        return f"exit {code} ({why})" if why else f"exit {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = "unknown"
    return f"killed by signal {-code} ({name})"


def _start_failure(argv: Sequence[bytes], error: OSError | ValueError) -> tuple[CommandFailed, int]:
    """What to say, and the exit code that a shell would have given."""
    name = os.fsdecode(argv[0]) or "''"
    match error:
        case ValueError() if argv[0]:
            return CommandFailedForGood("bad record: an argument holds a NUL byte"), 126
        case (
            ValueError()  # an empty name, which Python does not even ask the system for
            | FileNotFoundError()
            | NotADirectoryError()
            | OSError(errno=errno.ENAMETOOLONG | errno.ELOOP)
        ):
            return CommandFailedForGood(f"exit 127 (not found): {name}"), 127
        case PermissionError():
            return CommandFailedForGood(f"exit 126 (not executable): {name}"), 126
        case OSError(errno=errno.E2BIG):
            return CommandFailedForGood("the arguments are too long for this system"), 126
        case OSError(errno=errno.ENOEXEC):
            return CommandFailedForGood(f"exit 126 (not a program): {name}"), 126
        case _:  # out of processes or memory: another try may help
            return CommandFailed(f"cannot start {name}: {error.strerror}"), 126
