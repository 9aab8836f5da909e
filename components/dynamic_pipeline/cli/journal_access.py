"""How commands other than `run` come to the journal: where it is, read, locked, and how a mistake is told."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from dynamic_pipeline.journal.reader import Reader, RunLine

StateDir = Annotated[
    str | None,
    typer.Option("--state-dir", metavar="DIR", help="Folder of the journal; default: as `run` has it."),
]


class Refused(typer.Exit):
    """A mistake, told in one line."""

    def __init__(self, text: str, code: int = 2) -> None:
        typer.echo(f"pipeline: error: {text}", err=True)
        super().__init__(code)


def path_of(state_dir: str | None) -> Path:
    """Where `run` puts it, by the same layers of settings."""
    import pipeline_config  # noqa: PLC0415 - `--help` does not need it

    if state_dir is None:
        try:
            state_dir = pipeline_config.load(None).settings.journal.state_dir
        except pipeline_config.ConfigError as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(2) from None
    return Path(os.path.abspath(state_dir)) / "journal.db"  # noqa: PTH100 - as it was given


@contextmanager
def told_in_one_line() -> Iterator[None]:
    from dynamic_pipeline.journal.faults import JournalError  # noqa: PLC0415 - brings SQLite
    from dynamic_pipeline.views.escape import escape  # noqa: PLC0415 - same

    try:
        yield
    except JournalError as error:
        hint = f"\n  hint: {error.hint}" if error.hint else ""
        raise Refused(f"{escape(str(error))}{hint}", error.exit_code) from None


@contextmanager
def locked(state_dir: str | None) -> Iterator[Path]:
    """The journal's path, while no run writes to it.

    Raises:
        JournalError: there is none, or a run holds it.
    """
    from dynamic_pipeline.journal import place  # noqa: PLC0415 - brings SQLite
    from dynamic_pipeline.journal.faults import JournalError  # noqa: PLC0415 - same
    from dynamic_pipeline.journal.lock import JournalLock  # noqa: PLC0415 - same

    path = path_of(state_dir)
    if not place.look_at(path):  # before the lock, whose file would be made
        raise JournalError(f"{path}: there is no journal", hint="a run makes one, unless --durability off")
    lock = JournalLock(path)
    lock.acquire()
    try:
        yield path
    finally:
        lock.release()


@contextmanager
def reading(path: Path) -> Iterator[Reader]:
    from dynamic_pipeline.journal.reader import Reader  # noqa: PLC0415 - brings SQLite

    with told_in_one_line(), Reader.open(path) as reader:
        yield reader


def state_of(run: RunLine, path: Path) -> str:
    """running, killed or ended. A killed run is called so before and after somebody has put the journal in order."""
    from dynamic_pipeline.journal.lock import JournalLock  # noqa: PLC0415 - brings SQLite

    if run.ended_us is not None:
        return "killed" if run.outcome == "crashed" else "ended"
    # A number alone is given again, perhaps to another process: whoever runs holds the lock.
    holder = JournalLock(path).holder()
    return "running" if holder is not None and (holder.pid, holder.host) == (run.pid, run.host) else "killed"
