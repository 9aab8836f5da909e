"""`report`: one run as one HTML page, also while it goes on and after it was killed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from dynamic_pipeline.cli.journal_access import Refused, StateDir, path_of, state_of, told_in_one_line


def report(
    run: Annotated[str | None, typer.Argument(metavar="[RUN]", help="Its name, as `runs` lists it.")] = None,
    state_dir: StateDir = None,
    *,
    output: Annotated[
        str | None,
        typer.Option(
            "-o", "--output", metavar="FILE", help="Default: report-RUN.html in the folder of the journal."
        ),
    ] = None,
) -> None:
    """Write the latest run, or RUN, as an HTML page that needs nothing else; print its name."""
    from dynamic_pipeline.errors import OutputError  # noqa: PLC0415 - `--help` does not need it
    from dynamic_pipeline.sinks.files import CompleteFile  # noqa: PLC0415 - same
    from dynamic_pipeline.views.escape import escape  # noqa: PLC0415 - same

    if output in {"", "-"}:
        raise Refused("--output needs the name of a file")
    path = path_of(state_dir)
    with told_in_one_line():
        uuid, pieces = page_of(path, run)
    name = output or os.path.join(path.parent, f"report-{uuid}.html")  # noqa: PTH118 - text
    try:
        file = CompleteFile(f"--output {escape(name)}", name)
        with contextlib.ExitStack() as stack:
            stack.callback(file.discard)
            for piece in pieces:
                file.write(piece)
            file.complete()
    except OutputError as error:
        raise Refused(str(error), 4) from None
    typer.echo(escape(name))


def page_of(path: Path, run: str | None) -> tuple[str, Iterator[bytes]]:
    """The name of the latest run, or of *run*, in the journal at *path*, and its page in pieces.

    Raises:
        JournalError: the journal cannot be read. Refused: there is no such run.
    """
    from dynamic_pipeline.cli.report_files import program  # noqa: PLC0415 - `--help` does not need it
    from dynamic_pipeline.journal.operations import now_us  # noqa: PLC0415 - same
    from dynamic_pipeline.journal.report_reader import ReportReader  # noqa: PLC0415 - brings SQLite
    from dynamic_pipeline.report.page import render  # noqa: PLC0415 - brings Jinja
    from dynamic_pipeline.report.story import MOST_RUNS, read_story  # noqa: PLC0415 - same
    from dynamic_pipeline.views.escape import escape  # noqa: PLC0415 - same

    with ReportReader.open(path) as reader, reader.one_moment():
        latest = reader.runs(MOST_RUNS)
        if not latest:
            raise Refused("the journal has no run yet")
        found = latest[0] if run is None else reader.run_named(run)
        if found is None:
            raise Refused(f"the journal has no run {escape(run or '')}; `runs` lists them")
        now = now_us()
        past = [(line, state_of(line, path)) for line in latest]
        kept = [str(file) for file in sorted(path.parent.glob(f"failed-{found.uuid}.*"))]
        story = read_story(reader, found, state_of(found, path), past, program(), kept, now)
    return found.uuid, render(story, now)
