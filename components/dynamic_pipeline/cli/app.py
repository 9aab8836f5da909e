"""The typer application: which commands there are, and how mistakes are told."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from dynamic_pipeline import __version__
from dynamic_pipeline.cli import config, history, report, run, simulate, upkeep

app = typer.Typer(
    name="dynamic-pipeline",
    help="Runs a stream of jobs through a pool that sizes itself.",
    context_settings={"help_option_names": ["-h", "--help"]},
    # Panels are for people: they fold a message at 80 columns, which a log or a pipe should not have.
    rich_markup_mode="rich" if sys.stdout is not None and sys.stdout.isatty() else None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    add_completion=False,
)
app.command("run", context_settings={"ignore_unknown_options": False})(run.run)
app.command("status")(history.status)
app.command("runs")(history.runs)
app.command("failed")(history.failed)
app.command("decisions")(history.decisions)
app.command("report")(report.report)
app.command("simulate")(simulate.simulate)
app.add_typer(upkeep.app, name="journal")
app.add_typer(config.app, name="config")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"dynamic-pipeline {__version__}")
        raise typer.Exit


@app.callback()
def options(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", "-V", help="Print the version.", is_eager=True, callback=_print_version),
    ] = False,
) -> None:
    """Runs a stream of jobs through a pool that sizes itself."""
