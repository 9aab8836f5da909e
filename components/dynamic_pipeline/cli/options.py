"""How options are declared: short forms for what all of them say."""

from __future__ import annotations

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
