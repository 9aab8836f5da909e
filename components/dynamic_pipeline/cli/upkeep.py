"""`journal …`: a copy of the journal, what of it is forgotten, what is saved of a damaged one."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from dynamic_pipeline.cli.journal_access import Refused, StateDir, locked, path_of, reading, told_in_one_line

app = typer.Typer(help="Look after the journal.", no_args_is_help=True)
_US_PER_S = 1e6


@app.command()
def backup(target: Annotated[str, typer.Argument(metavar="FILE")], state_dir: StateDir = None) -> None:
    """Write the whole journal to FILE, also while a run goes on; a copy of journal.db alone may lack its end."""
    with reading(path_of(state_dir)) as reader:
        reader.backup(Path(target))


@app.command()
def prune(
    state_dir: StateDir = None,
    *,
    older_than: Annotated[str, typer.Option(metavar="TIME", help="Work that ended this long ago.")] = "720h",
    keep_runs: Annotated[int, typer.Option(metavar="N", min=0, help="But never the latest N runs.")] = 20,
) -> None:
    """Forget work that is over and old. Nothing that is still to be done is ever removed."""
    import pipeline_config  # noqa: PLC0415 - `--help` does not need it

    from dynamic_pipeline.journal.store import Store  # noqa: PLC0415 - brings SQLite

    try:
        age_s = pipeline_config.parse_duration(older_than)
    except pipeline_config.DurationError as error:
        raise Refused(f"--older-than: {error}") from None
    with told_in_one_line(), locked(state_dir) as path:
        # A run that was killed stays as it is: whoever resumes it first ends what it has left running.
        store = Store.open(path, "full")
        try:
            count = store.prune(before_us=int((time.time() - age_s) * _US_PER_S), keep_runs=keep_runs)
        finally:
            store.close()
    typer.echo(f"{count} forgotten")


@app.command()
def recover(state_dir: StateDir = None) -> None:
    """Save what can be read of a damaged journal into a new one; the damaged one is kept beside it."""
    from dynamic_pipeline.journal.salvage import salvage  # noqa: PLC0415 - brings SQLite
    from dynamic_pipeline.views.escape import escape  # noqa: PLC0415 - `--help` does not need it

    with told_in_one_line(), locked(state_dir) as path:
        saved = salvage(path)
    if saved is None:
        typer.echo(f"{escape(str(path))}: is whole, nothing was changed")
        return
    typer.echo(
        f"saved: {saved.works} works, {saved.runs} runs, {saved.jobs} jobs, {saved.attempts} attempts;"
        f" left out: {saved.left_out}; the damaged journal is kept as {escape(str(saved.kept))}"
    )
    typer.echo("what could not be read is not on record any more: those records run again with --resume")
