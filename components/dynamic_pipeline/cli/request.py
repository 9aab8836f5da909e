"""What was asked for on the command line, and what cannot be asked for together."""

from __future__ import annotations

import os
import random
import re
import shutil
import stat
import sys
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import get_args

from dynamic_pipeline.errors import UsageError
from dynamic_pipeline.records import Format
from dynamic_pipeline.views.escape import escape

_BRACES = re.compile(r"\{[^{}]*\}")
_SHELL_SIGNS = re.compile(r"[\s;&|<>$`]")


@dataclass(frozen=True)
class Request:
    """What was asked for on the command line, before any of it was checked against the rest."""

    command: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    shell_command: str | None = None
    is_lines: bool = False  # each record is a shell command
    call: str | None = None
    format: Format | None = None
    is_null_separated: bool = False
    is_dry_run: bool = False
    is_strict: bool = False
    keeps_order: bool = False
    is_tagged: bool = False
    output: str | None = None  # the folder for files of outputs
    is_quiet: bool = False
    is_silent: bool = False  # unless something failed
    halt: str | None = None
    jobs_file: str | None = None
    is_resumed: bool = False
    retries_failed: bool = False  # those of earlier runs; implies the former
    if_locked: str = "fail"
    joblog: str | None = None  # files; with a leading + it is appended to
    results: str | None = None  # the same, or - for stdout
    junit: str | None = None
    summary_json: str | None = None
    record_trace: str | None = None
    metrics_file: str | None = None
    serve: str | None = None  # an address
    again: tuple[str, ...] = ()  # the words of the command line, without its inputs
    jobs: int | None = None
    duration: str | None = None
    seed: int | None = None
    time_scale: float | None = None
    config: str | None = None
    options: dict[str, tuple[str, str]] = field(default_factory=dict)  # key → (option, text)
    sets: tuple[str, ...] = ()
    fixed_workers: str | None = None

    @cached_property
    def luck(self) -> int:
        """The seed of all that is random in the run: `--seed`, or one that is drawn once."""
        return random.randrange(1_000_000) if self.seed is None else self.seed  # noqa: S311 - not a secret

    @property
    def is_simulation(self) -> bool:
        return not (self.inputs or self.workloads)

    @property
    def workloads(self) -> list[str]:
        """As they were asked for; one at most makes sense."""
        given = (
            ("a command", bool(self.command)),
            ("-c", self.shell_command is not None),
            ("--lines", self.is_lines),
            ("--call", self.call is not None),
        )
        return [name for name, is_given in given if is_given]

    def check(self) -> None:
        """Refuse what cannot be done together.

        Raises:
            UsageError: says what, and the way out.
        """
        if self.format is not None and self.format not in get_args(Format):
            raise UsageError(f"--format {self.format}: it must be lines, csv, tsv or jsonl")
        if self.if_locked not in {"fail", "skip"}:
            raise UsageError(f"--if-locked {self.if_locked}: it must be fail or skip")
        simulated = [
            name
            for name, value in (
                ("--jobs", self.jobs),
                ("--duration", self.duration),
                ("--seed", self.seed),
                ("--time-scale", self.time_scale),
                ("--profile", self.options.get("load.profile")),
                ("--failure-rate", self.options.get("pipeline.failure_rate")),
            )
            if value is not None
        ]
        for key in ("pipeline.max_workers", "scaling.policy") if self.fixed_workers is not None else ():
            if key in self.options:
                raise UsageError(f"-j sets {self.options[key][0]} itself", hint="leave out one of the two")
        self._check_workload()
        if self.inputs and not self.workloads:
            raise UsageError(
                "-i has records but there is nothing to do with them",
                hint="add -- CMD {} or --call pkg.mod:func",
            )
        real = [
            name
            for name, value in (
                ("--format", self.format is not None),
                ("-0", self.is_null_separated),
                ("--dry-run", self.is_dry_run),
                ("--strict", self.is_strict),
                *self._how_shown(),
                ("--joblog", self.joblog is not None),
                ("--results", self.results is not None),
                ("--junit", self.junit is not None),
                ("--retry-failed", self.retries_failed),
                ("--resume", self.is_resumed),
            )
            if value
        ]
        if self.is_simulation and real:
            raise UsageError(f"{real[0]} belongs to real work", hint="add -i FILE and -- CMD {}")
        self._check_output()
        if not self.is_simulation and simulated:
            raise UsageError(
                f"{simulated[0]} belongs to the simulated workload",
                hint=f"leave {simulated[0]} out, or the real work",
            )
        if not self.is_simulation and not self.inputs and sys.stdin is not None and sys.stdin.isatty():
            raise UsageError(
                "there is a workload but no records for it", hint="add -i FILE, or -i - and type them"
            )
        if self.is_simulation and not simulated and _stdin_brings_data():
            raise UsageError(
                "records come in on standard input but there is nothing to do with them",
                hint="add -i - and -- CMD {} or --call pkg.mod:func; for the simulated workload add </dev/null",
            )

    def _check_workload(self) -> None:
        if len(self.workloads) > 1:
            raise UsageError(
                f"{self.workloads[0]} and {self.workloads[1]} are two workloads", hint="leave one of them out"
            )
        if self.is_lines and self.format not in {None, "lines"}:
            raise UsageError(
                f"--lines runs each line, and --format {self.format} makes other records",
                hint="leave one of them out",
            )
        if self.is_strict and (self.is_lines or self.call is not None):
            raise UsageError(f"--strict is about a {{}} in a command, and {self.workloads[0]} has none")
        if len(self.command) == 1 and _is_shell_text(self.command[0]):
            raise UsageError(
                f"{escape(self.command[0])}: there is no such program; -- starts one without a shell",
                hint="for a shell command write -c '…' in place of -- '…'",
            )

    def _how_shown(self) -> tuple[tuple[str, bool], ...]:
        return (
            ("-k", self.keeps_order),
            ("--tag", self.is_tagged),
            ("--output", self.output is not None),
        )

    def _check_output(self) -> None:
        given = [option for option, is_given in self._how_shown() if is_given]
        if self.call is not None and given:
            raise UsageError(f"{given[0]} is for commands: what a Python call prints goes straight to stdout")
        if self.output is not None and len(given) > 1:
            raise UsageError(
                f"{given[0]} is about output that is shown, and --output shows none",
                hint="leave one of them out",
            )
        if not (self.output is None or self.output.strip()):
            raise UsageError("--output needs the name of a folder")


def _is_shell_text(word: str) -> bool:
    """Whether it holds blanks or signs of a shell, and is not the name of a program or a file."""
    text = _BRACES.sub("", word)
    return _SHELL_SIGNS.search(text) is not None and shutil.which(word) is None and not Path(word).exists()


def _stdin_brings_data() -> bool:
    """A pipe never falls back to the simulation."""
    try:
        mode = os.fstat(0).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode)
