"""What was asked for on the command line, and what cannot be asked for together."""

from __future__ import annotations

import os
import stat
import sys
from dataclasses import dataclass, field
from typing import Literal

from dynamic_pipeline.errors import UsageError


@dataclass(frozen=True)
class Request:
    """What was asked for on the command line, before any of it was checked against the rest."""

    command: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    call: str | None = None
    format: Literal["lines", "csv", "tsv", "jsonl"] | None = None
    is_null_separated: bool = False
    is_dry_run: bool = False
    is_strict: bool = False
    jobs: int | None = None
    duration: str | None = None
    seed: int | None = None
    time_scale: float | None = None
    config: str | None = None
    options: dict[str, tuple[str, str]] = field(default_factory=dict)  # key → (option, text)
    sets: tuple[str, ...] = ()
    fixed_workers: str | None = None

    @property
    def is_simulation(self) -> bool:
        return not (self.inputs or self.command) and self.call is None

    def check(self) -> None:
        """Refuse what cannot be done together.

        Raises:
            UsageError: says what, and the way out.
        """
        if self.format not in {None, "lines", "csv", "tsv", "jsonl"}:
            raise UsageError(f"--format {self.format}: it must be lines, csv, tsv or jsonl")
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
        if self.command and self.call is not None:
            raise UsageError("a command and --call are two workloads", hint="leave one of them out")
        if self.inputs and not self.command and self.call is None:
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
            )
            if value
        ]
        if self.is_simulation and real:
            raise UsageError(f"{real[0]} belongs to real work", hint="add -i FILE and -- CMD {}")
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


def _stdin_brings_data() -> bool:
    """A pipe never falls back to the simulation."""
    try:
        mode = os.fstat(0).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode)
