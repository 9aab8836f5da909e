"""A process per record: no shell, a session of its own, output into files."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import tempfile
from typing import NamedTuple

from dynamic_pipeline.attempts import Attempt
from dynamic_pipeline.errors import AttemptFailed, Interrupted, PermanentError
from dynamic_pipeline.process_group import ProcessGroup
from dynamic_pipeline.records import Record
from dynamic_pipeline.slots import Slots
from dynamic_pipeline.spool import Spool
from dynamic_pipeline.templates import CommandTemplate

_NO_RETRY = {126: "not executable", 127: "not found"}  # exit codes of shells: trying again cannot help


class CommandOutput(NamedTuple):
    """What a command wrote, kept apart."""

    stdout: Spool
    stderr: Spool


class CommandFailed(AttemptFailed):
    """The command could not be started, or did not end with 0."""

    value: CommandOutput | None = None


class CommandFailedForGood(CommandFailed, PermanentError):
    """The same, and another try would fail as well."""


class CommandWork:
    """Runs *template* filled with each record.

    Called by many workers at once. `abort` may be called by any thread; it ends what runs and what would
    still start.
    """

    def __init__(
        self, template: CommandTemplate, *, run_id: str, kill_grace_s: float, timeout_s: float | None = None
    ) -> None:
        self._template = template
        self._slots = Slots()
        self._kill_grace_s = kill_grace_s
        self._timeout_s = timeout_s  # of one attempt
        self._env = {**os.environ, "PIPELINE_RUN_ID": run_id}
        self._folder = tempfile.mkdtemp(prefix=f"dynamic-pipeline-{os.getpid()}-")
        self._wake_fd, self._abort_fd = os.pipe()  # closing the writing end wakes every worker's poll
        self._is_aborted = False
        self._is_killed = False
        self._pids: set[int] = set()  # of unreaped leaders; for the last resort only

    def __call__(self, attempt: Attempt) -> CommandOutput:
        """One attempt: start, wait, reap.

        Raises:
            CommandFailed: with the output, where there was any. Interrupted: the run was forced to stop.
        """
        if self._is_aborted:
            raise Interrupted("not started")
        record: Record = attempt.job.payload
        if record.problem:
            raise CommandFailedForGood(f"bad record: {record.problem}")
        stem = os.path.join(self._folder, f"{attempt.job.id}.{attempt.number}")  # noqa: PTH118 - per job
        stdout = Spool(stem + ".out")
        try:
            stderr = Spool(stem + ".err")
        except BaseException:
            _drop(stdout)
            raise
        output = CommandOutput(stdout, stderr)
        slot = self._slots.take()
        try:
            argv = self._template.fill(record, attempt.job.id, slot)
            code, was_ended = self._run(argv, attempt, slot, output)
        except BaseException:
            for spool in output:
                _drop(spool)
            raise
        finally:
            self._slots.give_back(slot)
        for spool in output:
            spool.seal()
        if code == 0 and not was_ended:
            return output
        error: CommandFailed | Interrupted
        if was_ended and self._is_aborted:
            error = Interrupted("ended by the forced stop")
        elif was_ended:  # also if it answered TERM with an exit 0: nobody knows how far it was
            error = CommandFailed(f"timeout after {self._timeout_s:g} s")
        else:
            error = (CommandFailedForGood if code in _NO_RETRY else CommandFailed)(_describe_code(code))
        error.value = output
        raise error

    def _run(self, argv: list[bytes], attempt: Attempt, slot: int, output: CommandOutput) -> tuple[int, bool]:
        """The exit code, and whether we ended it."""
        env = {
            **self._env,
            "PIPELINE_JOB_ID": str(attempt.job.id),
            "PIPELINE_JOB_ATTEMPT": str(attempt.number),
            "PIPELINE_JOB_SLOT": str(slot),
        }
        try:
            group = ProcessGroup(argv, env, output.stdout.fileno(), output.stderr.fileno())
        except (OSError, ValueError) as error:
            raise _start_failure(argv, error) from None
        for spool in output:
            spool.close()
        self._pids.add(group.pid)
        if self._is_killed:  # add, then look: `kill` marks, then reads the set
            group.send(signal.SIGKILL)
        was_ended = False
        try:
            if not group.wait(self._wake_fd, self._timeout_s):
                was_ended = True
                group.end(self._kill_grace_s)
        finally:
            self._pids.discard(group.pid)  # before it is reaped: a number in the set is never a stranger's
        return group.reap(), was_ended

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
        shutil.rmtree(self._folder, ignore_errors=True)
        for fd in (self._wake_fd,) if self._is_aborted else (self._wake_fd, self._abort_fd):
            os.close(fd)


def _drop(spool: Spool) -> None:
    spool.close()
    spool.discard()


def _describe_code(code: int) -> str:
    if code >= 0:
        why = _NO_RETRY.get(code)
        return f"exit {code} ({why})" if why else f"exit {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = "unknown"
    return f"killed by signal {-code} ({name})"


def _start_failure(argv: list[bytes], error: OSError | ValueError) -> CommandFailed:
    name = os.fsdecode(argv[0])
    match error:
        case ValueError():
            return CommandFailedForGood("bad record: an argument holds a NUL byte")
        case FileNotFoundError() | NotADirectoryError() | OSError(errno=errno.ENAMETOOLONG | errno.ELOOP):
            return CommandFailedForGood(f"exit 127 (not found): {name}")
        case PermissionError():
            return CommandFailedForGood(f"exit 126 (not executable): {name}")
        case OSError(errno=errno.E2BIG):
            return CommandFailedForGood("the arguments are too long for this system")
        case OSError(errno=errno.ENOEXEC):
            return CommandFailedForGood(f"exit 126 (not a program): {name}")
        case _:  # out of processes or memory: another try may help
            return CommandFailed(f"cannot start {name}: {error.strerror}")
