"""A process per record, on this machine or another one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from dynamic_pipeline.attempts import Attempt
from dynamic_pipeline.records import Record
from dynamic_pipeline.reports import CommandReport
from dynamic_pipeline.slots import Slots
from dynamic_pipeline.templates import Template
from dynamic_pipeline.work.local_commands import CommandFailedForGood, Filled


class Commands(Protocol):
    """Where commands are run; see `LocalCommands` for what each of these does."""

    def run(self, command: Filled, attempt: Attempt, /) -> CommandReport: ...
    def abort(self) -> None: ...
    def kill(self) -> None: ...
    def close(self) -> None: ...


class CommandWork:
    """Fills *template* with each record, and lets *commands* run what comes of it. Called by many workers at once."""

    keeps_time = True  # `--timeout` is seen to where they run

    def __init__(
        self, template: Template, commands: Commands, *, key_of: Callable[[Record], bytes] | None = None
    ) -> None:
        """*key_of* tells what a record is known by in every run."""
        self._template, self._key_of = template, key_of
        self._slots = Slots()
        self.commands = commands
        self.abort, self.kill, self.close = commands.abort, commands.kill, commands.close
        self.when_lost = getattr(commands, "when_lost", bool)  # only what is away from here can be lost

    def __call__(self, attempt: Attempt) -> CommandReport:
        """One attempt.

        Raises:
            CommandFailed: with the report, where there was a command. Interrupted: the run was forced to stop.
        """
        record: Record = attempt.job.payload
        if record.problem:
            raise CommandFailedForGood(f"bad record: {record.problem}")
        slot = self._slots.take()
        try:
            argv = self._template.fill(record, attempt.job.id, slot)
            key = "" if self._key_of is None else self._key_of(record).hex()
            return self.commands.run(Filled(argv, slot, key), attempt)
        finally:
            self._slots.give_back(slot)
