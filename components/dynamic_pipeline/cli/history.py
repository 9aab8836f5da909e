"""`status`, `runs`, `failed` and `journal …`: what the journal tells, also beside a run that writes to it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from dynamic_pipeline.journal.reader import LostJob, Reader, RunLine

journal = typer.Typer(help="Look after the journal.", no_args_is_help=True)

_Dir = Annotated[
    str | None,
    typer.Option("--state-dir", metavar="DIR", help="Folder of the journal; default: as `run` has it."),
]
_Json = Annotated[bool, typer.Option("--json", help="One JSON object, or one a line.")]
_WATCH_S = 1.0
_US_PER_S = 1e6


def status(
    state_dir: _Dir = None,
    *,
    as_json: _Json = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Again each second, until the run has ended.")
    ] = False,
) -> None:
    """How far the latest run is, or how it ended."""
    path = _path(state_dir)
    while True:
        with _reader(path) as reader:
            runs = reader.runs(1)
            if not runs:
                raise _Refused("the journal has no run yet")
            told = _status(reader, runs[0], path)
        typer.echo(json.dumps(told) if as_json else _status_line(told))
        if not watch or told["state"] != "running":
            return
        time.sleep(_WATCH_S)


def runs(
    state_dir: _Dir = None,
    *,
    as_json: _Json = False,
    most: Annotated[int, typer.Option("-n", metavar="N", min=1, help="The latest N.")] = 20,
) -> None:
    """The latest runs, the newest first."""
    path = _path(state_dir)
    with _reader(path) as reader:
        told = [_status(reader, run, path) | reader.counts_of_run(run) for run in reader.runs(most)]
    for one in told:
        typer.echo(json.dumps(one) if as_json else _status_line(one))


def failed(
    state_dir: _Dir = None,
    *,
    format: Annotated[  # noqa: A002 - the option's name
        str,
        typer.Option(
            metavar="text|records|nul|jsonl", help="records and nul feed `run -i -`, `run -0 -i -`."
        ),
    ] = "text",
) -> None:
    """The jobs of the latest run's work that failed for good, or are held."""
    if format not in {"text", "records", "nul", "jsonl"}:
        raise _Refused(f"--format {format}: it must be text, records, nul or jsonl")
    with _reader(_path(state_dir)) as reader:
        latest = reader.runs(1)
        after = 0
        while latest and (jobs := reader.failed(latest[0].work, after=after)):
            for job in jobs:
                typer.echo(_lost(job, format), nl=False)
            after = jobs[-1].seq


@journal.command()
def backup(target: Annotated[str, typer.Argument(metavar="FILE")], state_dir: _Dir = None) -> None:
    """Write the whole journal to FILE, also while a run goes on; a copy of journal.db alone may lack its end."""
    with _reader(_path(state_dir)) as reader:
        reader.backup(Path(target))


@journal.command()
def prune(
    state_dir: _Dir = None,
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
        raise _Refused(f"--older-than: {error}") from None
    with _told_in_one_line(), _locked(state_dir) as path:
        # A run that was killed stays as it is: whoever resumes it first ends what it has left running.
        store = Store.open(path, "full")
        try:
            count = store.prune(before_us=int((time.time() - age_s) * _US_PER_S), keep_runs=keep_runs)
        finally:
            store.close()
    typer.echo(f"{count} forgotten")


@journal.command()
def recover(state_dir: _Dir = None) -> None:
    """Save what can be read of a damaged journal into a new one; the damaged one is kept beside it."""
    from dynamic_pipeline.journal.salvage import salvage  # noqa: PLC0415 - brings SQLite
    from dynamic_pipeline.views.escape import escape  # noqa: PLC0415 - `--help` does not need it

    with _told_in_one_line(), _locked(state_dir) as path:
        saved = salvage(path)
    if saved is None:
        typer.echo(f"{escape(str(path))}: is whole, nothing was changed")
        return
    typer.echo(
        f"saved: {saved.works} works, {saved.runs} runs, {saved.jobs} jobs, {saved.attempts} attempts;"
        f" left out: {saved.left_out}; the damaged journal is kept as {escape(str(saved.kept))}"
    )
    typer.echo("what could not be read is not on record any more: those records run again with --resume")


class _Refused(typer.Exit):
    """A mistake, told in one line."""

    def __init__(self, text: str, code: int = 2) -> None:
        typer.echo(f"pipeline: error: {text}", err=True)
        super().__init__(code)


def _path(state_dir: str | None) -> Path:
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
def _told_in_one_line() -> Iterator[None]:
    from dynamic_pipeline.journal.faults import JournalError  # noqa: PLC0415 - brings SQLite
    from dynamic_pipeline.views.escape import escape  # noqa: PLC0415 - same

    try:
        yield
    except JournalError as error:
        hint = f"\n  hint: {error.hint}" if error.hint else ""
        raise _Refused(f"{escape(str(error))}{hint}", error.exit_code) from None


@contextmanager
def _locked(state_dir: str | None) -> Iterator[Path]:
    """The journal's path, while no run writes to it.

    Raises:
        JournalError: there is none, or a run holds it.
    """
    from dynamic_pipeline.journal import place  # noqa: PLC0415 - brings SQLite
    from dynamic_pipeline.journal.faults import JournalError  # noqa: PLC0415 - same
    from dynamic_pipeline.journal.lock import JournalLock  # noqa: PLC0415 - same

    path = _path(state_dir)
    if not place.look_at(path):  # before the lock, whose file would be made
        raise JournalError(f"{path}: there is no journal", hint="a run makes one, unless --durability off")
    lock = JournalLock(path)
    lock.acquire()
    try:
        yield path
    finally:
        lock.release()


@contextmanager
def _reader(path: Path) -> Iterator[Reader]:
    from dynamic_pipeline.journal.reader import Reader  # noqa: PLC0415 - brings SQLite

    with _told_in_one_line(), Reader.open(path) as reader:
        yield reader


def _state(run: RunLine, path: Path) -> str:
    """A killed run is called so before and after somebody has put the journal in order."""
    from dynamic_pipeline.journal.lock import JournalLock  # noqa: PLC0415 - brings SQLite

    if run.ended_us is not None:
        return "killed" if run.outcome == "crashed" else "ended"
    # A number alone is given again, perhaps to another process: whoever runs holds the lock.
    holder = JournalLock(path).holder()
    return "running" if holder is not None and (holder.pid, holder.host) == (run.pid, run.host) else "killed"


def _status(reader: Reader, run: RunLine, path: Path) -> dict[str, Any]:
    state = _state(run, path)
    counts = reader.counts(run.work, has_run_ended=state != "running")
    # When a killed one ended nobody knows: what is on record is when that was found out.
    ended_us = None if state == "killed" else run.ended_us
    until_us = time.time() * _US_PER_S if state == "running" else ended_us
    return {
        "run": run.uuid,
        "state": state,
        "mode": run.mode,
        "started": _when(run.started_us),
        "ended": None if ended_us is None else _when(ended_us),
        "elapsed_s": None if until_us is None else round((until_us - run.started_us) / _US_PER_S, 3),
        "exit_code": run.exit_code,
        "input": run.input,
        **{str(name): count for name, count in counts.items()},
    }


def _when(us: int) -> str:
    return datetime.fromtimestamp(us / _US_PER_S).astimezone().isoformat(timespec="seconds")


def _status_line(told: dict[str, Any]) -> str:
    from dynamic_pipeline.views.escape import escape  # noqa: PLC0415 - `--help` does not need it

    counts = ", ".join(
        f"{told[name]} {'started' if name == 'running' else name}"  # some may still wait for a worker
        for name in ("succeeded", "failed", "held", "running", "retrying", "queued", "unfinished")
        if told[name] or name in {"succeeded", "failed"}
    )
    code = "" if told["exit_code"] is None else f" with exit code {told['exit_code']}"
    return f"{told['run']}  {told['state']}{code}  {told['started']}  {escape(told['input'])}  {counts}"


def _lost(job: LostJob, format: str) -> str | bytes:  # noqa: A002 - as the option
    from dynamic_pipeline.views.escape import escape  # noqa: PLC0415 - `--help` does not need it

    if format in {"records", "nul"}:
        return job.payload + (b"\n" if format == "records" else b"\0")
    text = job.payload.decode("utf-8", "surrogateescape")
    if format == "text":
        error = escape(job.error or "")
        return f"job {job.seq}  {escape(job.source)}:{job.line}  {escape(text)}  {job.state}  {error}\n"
    fields = {
        "job": job.seq,
        "state": str(job.state),
        "attempts": job.attempts,
        "record": escape(text),
        "source": job.source,
        "line": job.line,
        "error": job.error,
        "exit": job.exit_code,
        "signal": job.signal,
    }
    return json.dumps(fields) + "\n"
