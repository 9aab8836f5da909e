"""How options are declared: short forms for what all of them say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer

WORK, SIM, POOL, STOP, SET = "Real work", "Simulated work", "Pool", "Stopping", "Settings"
REPORT, JOURNAL = "Reports", "Journal"


def key(option: str, metavar: str, help_text: str, panel: str) -> Any:
    """An option that sets a configuration key: kept as text, so that all layers are read by the same rules."""
    return typer.Option(option, metavar=metavar, help=help_text, rich_help_panel=panel, show_default=False)


def text(metavar: str, help_text: str, panel: str, *names: str) -> Any:
    """An option with a value; without *names* it has that of its parameter."""
    return typer.Option(*names, metavar=metavar, help=help_text, rich_help_panel=panel)


def flag(help_text: str, panel: str, *names: str) -> Any:
    """An option without a value."""
    return typer.Option(*names, help=help_text, rich_help_panel=panel)


# The configuration keys that have an option of their own, by its parameter.
_KEYS = {
    "min_workers": "pipeline.min_workers",
    "max_workers": "pipeline.max_workers",
    "grow_threshold": "pipeline.grow_threshold",
    "shrink_threshold": "pipeline.shrink_threshold",
    "check_interval": "pipeline.check_interval",
    "failure_rate": "pipeline.failure_rate",
    "queue_capacity": "pipeline.queue_capacity",
    "max_retries": "pipeline.max_retries",
    "timeout": "pipeline.timeout",
    "executor": "pipeline.executor",
    "dask": "pipeline.dask",
    "policy": "scaling.policy",
    "drain": "shutdown.drain",
    "drain_timeout": "shutdown.drain_timeout",
    "kill_grace": "shutdown.kill_grace",
    "profile": "load.profile",
    "log_format": "log.format",
    "state_dir": "journal.state_dir",
    "durability": "journal.durability",
    "orphans": "journal.orphans",
}


def given_keys(parameters: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Of *parameters* those that set a key, and were given: the option and its text, by key."""
    return {
        key: (f"--{name.replace('_', '-')}", parameters[name])
        for name, key in _KEYS.items()
        if parameters[name] is not None
    }
