"""`status`, `runs`, `failed`, `decisions`: what the journal tells, also beside a run that writes to it."""

from __future__ import annotations

import json
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dynamic_pipeline.cli.journal_access import Refused, StateDir, path_of, reading, state_of

if TYPE_CHECKING:
    from dynamic_pipeline.journal.operations import Decide
    from dynamic_pipeline.journal.reader import LostJob, Reader, RunLine

_Json = Annotated[bool, typer.Option("--json", help="One JSON object, or one a line.")]
_WATCH_S = 1.0
_US_PER_S = 1e6


def status(
    state_dir: StateDir = None,
    *,
    as_json: _Json = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Again each second, until the run has ended.")
    ] = False,
) -> None:
    """How far the latest run is, or how it ended."""
    path = path_of(state_dir)
    while True:
        with reading(path) as reader:
            runs = reader.runs(1)
            if not runs:
                raise Refused("the journal has no run yet")
            told = _status(reader, runs[0], path)
        typer.echo(json.dumps(told) if as_json else _status_line(told))
        if not watch or told["state"] != "running":
            return
        time.sleep(_WATCH_S)


def runs(
    state_dir: StateDir = None,
    *,
    as_json: _Json = False,
    most: Annotated[int, typer.Option("-n", metavar="N", min=1, help="The latest N.")] = 20,
) -> None:
    """The latest runs, the newest first."""
    path = path_of(state_dir)
    with reading(path) as reader:
        told = [_status(reader, run, path) | reader.counts_of_run(run) for run in reader.runs(most)]
    for one in told:
        typer.echo(json.dumps(one) if as_json else _status_line(one))


def failed(
    state_dir: StateDir = None,
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
        raise Refused(f"--format {format}: it must be text, records, nul or jsonl")
    with reading(path_of(state_dir)) as reader:
        latest = reader.runs(1)
        after = 0
        while latest and (jobs := reader.failed(latest[0].work, after=after)):
            for job in jobs:
                typer.echo(_lost(job, format), nl=False)
            after = jobs[-1].seq


def decisions(
    state_dir: StateDir = None,
    *,
    as_json: _Json = False,
    all_looks: Annotated[
        bool, typer.Option("--all", help="Those too that changed nothing, where they saw something new.")
    ] = False,
) -> None:
    """Why the latest run had as many workers as it had: what the policy saw, and decided."""
    with reading(path_of(state_dir)) as reader:
        latest = reader.runs(1)
        after, told = 0, False
        while latest and (found := reader.decisions(latest[0].run, after=after)):
            for one in found:
                if all_looks or one.workers != one.allowed:
                    typer.echo(json.dumps(_decision(one)) if as_json else _decision_line(one))
                    told = True
            after = found[-1].look
        if not told:
            kept = "the pool kept its size; --all tells of each look"
            typer.echo(kept if after else "nobody has looked at the load yet", err=True)


def _decision(one: Decide) -> dict[str, Any]:
    fields = one._asdict()
    for name in ("at", "clock", "busy"):
        fields[f"{name}_s"] = fields.pop(f"{name}_us") / _US_PER_S
    return fields


def _decision_line(one: Decide) -> str:
    from dynamic_pipeline.views.escape import escape  # noqa: PLC0415 - `--help` does not need it

    seen = f"{one.queued} queued, {one.in_flight} in flight, {one.waiting} waiting, {one.ended} ended"
    return f"{_when(one.at_us)}  {one.allowed} -> {one.workers}  {escape(one.reason)}  ({seen})"


def _status(reader: Reader, run: RunLine, path: Path) -> dict[str, Any]:
    state = state_of(run, path)
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
