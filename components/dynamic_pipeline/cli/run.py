"""`run`: arguments → settings → a run → its exit code."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from dynamic_pipeline.cli.given import given_words
from dynamic_pipeline.cli.request import Request

_WORK, _SIM, _POOL, _STOP, _SET = "Real work", "Simulated work", "Pool", "Stopping", "Settings"
_REPORT = "Reports"


def _key(option: str, metavar: str, text: str, panel: str) -> Any:
    """An option that sets a configuration key: kept as text, so that all layers are read by the same rules."""
    return typer.Option(option, metavar=metavar, help=text, rich_help_panel=panel, show_default=False)


def _text(metavar: str, text: str, panel: str, *names: str) -> Any:
    """An option with a value; without *names* it has that of its parameter."""
    return typer.Option(*names, metavar=metavar, help=text, rich_help_panel=panel)


def run(
    context: typer.Context,
    command: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="-- CMD ARG",
            help="A command per record, without a shell; {} is the record, {/} {.} {//} {/.} its parts.",
        ),
    ] = None,
    *,
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "-i",
            "--input",
            metavar="FILE",
            help="Records: lines, or a .csv, .tsv, .jsonl; - is stdin; repeats.",
            rich_help_panel=_WORK,
        ),
    ] = None,
    shell_command: Annotated[
        str | None,
        _text(
            "TEXT", "A shell command per record; {} is safe in quotes and without.", _WORK, "-c", "--command"
        ),
    ] = None,
    lines: Annotated[
        bool,
        typer.Option("--lines", help="Each record is a shell command itself.", rich_help_panel=_WORK),
    ] = False,
    call: Annotated[
        str | None,
        _text("PKG.MOD:FUNC", "A Python call per record, in place of a command.", _WORK),
    ] = None,
    format: Annotated[  # noqa: A002 - the option's name
        str | None,
        _text("lines|csv|tsv|jsonl", "What the records are; default: by suffix, else lines.", _WORK),
    ] = None,
    null: Annotated[
        bool,
        typer.Option("-0", "--null", help="Records end with NUL, as of find -print0.", rich_help_panel=_WORK),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print the commands, run none of them.", rich_help_panel=_WORK),
    ] = False,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict", help="Refuse a {} that an inner shell would read as code.", rich_help_panel=_WORK
        ),
    ] = False,
    keep_order: Annotated[
        bool,
        typer.Option(
            "-k", "--keep-order", help="Show outputs in the order of the input.", rich_help_panel=_WORK
        ),
    ] = False,
    tag: Annotated[
        bool,
        typer.Option("--tag", help="Put the record before each line of output.", rich_help_panel=_WORK),
    ] = False,
    output: Annotated[
        str | None,
        _text("DIR", "Keep outputs in files DIR/ID.out and DIR/ID.err, show none.", _WORK),
    ] = None,
    quiet: Annotated[
        bool,
        typer.Option(
            "-q", "--quiet", help="Show outputs of failed jobs only, and warnings.", rich_help_panel=_WORK
        ),
    ] = False,
    cron: Annotated[
        bool,
        typer.Option("--cron", help="Print nothing at all unless something failed.", rich_help_panel=_WORK),
    ] = False,
    joblog: Annotated[
        str | None,
        _text("FILE", "A row per finished job, as GNU parallel writes it; +FILE appends.", _REPORT),
    ] = None,
    results: Annotated[
        str | None,
        _text(
            "FILE|-",
            "A line of JSON per job, with what a call returned; +FILE appends. With - prints go to stderr.",
            _REPORT,
        ),
    ] = None,
    junit: Annotated[
        str | None,
        _text("FILE", "A JUnit XML report, as CI systems read it.", _REPORT),
    ] = None,
    summary_json: Annotated[
        str | None,
        _text("FILE", "How it ended, as one JSON object.", _REPORT),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, help="Stop after N simulated jobs.", rich_help_panel=_SIM),
    ] = None,
    duration: Annotated[
        str | None,
        _text("TIME", "Stop making jobs after TIME, such as 70s.", _SIM),
    ] = None,
    seed: Annotated[
        int | None,
        _text("N", "Same seed, same durations and failures.", _SIM),
    ] = None,
    time_scale: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            min=0,
            help="Multiply all simulated times; 0 waits for nothing.",
            rich_help_panel=_SIM,
        ),
    ] = None,
    profile: Annotated[
        str | None, _key("--profile", "seed|demo", "The load: when jobs come, how long they take.", _SIM)
    ] = None,
    failure_rate: Annotated[
        str | None, _key("--failure-rate", "N", "About one attempt in N fails; 0: none.", _SIM)
    ] = None,
    fixed_workers: Annotated[
        str | None,
        typer.Option(
            "-j", metavar="N", help="Always N workers: --policy fixed --max-workers N.", rich_help_panel=_POOL
        ),
    ] = None,
    jobs_file: Annotated[
        str | None,
        _text("FILE", "Holds N or MIN MAX, read again at each check; 0 pauses.", _POOL),
    ] = None,
    min_workers: Annotated[str | None, _key("--min-workers", "N", "Never fewer workers.", _POOL)] = None,
    max_workers: Annotated[str | None, _key("--max-workers", "N", "Never more workers.", _POOL)] = None,
    policy: Annotated[
        str | None, _key("--policy", "threshold|fixed", "How the pool is sized.", _POOL)
    ] = None,
    grow_threshold: Annotated[
        str | None, _key("--grow-threshold", "N", "Backlog that adds a worker.", _POOL)
    ] = None,
    shrink_threshold: Annotated[
        str | None, _key("--shrink-threshold", "N", "Backlog that removes one.", _POOL)
    ] = None,
    check_interval: Annotated[
        str | None, _key("--check-interval", "TIME", "Time between two checks.", _POOL)
    ] = None,
    queue_capacity: Annotated[str | None, _key("--queue-capacity", "N", "Jobs that may wait.", _POOL)] = None,
    max_retries: Annotated[
        str | None, _key("--max-retries", "N", "Tries after the first one.", _POOL)
    ] = None,
    timeout: Annotated[
        str | None,
        _key("--timeout", "TIME", "Time for one attempt; a command is ended, a call left behind.", _WORK),
    ] = None,
    halt: Annotated[
        str | None,
        _text(
            "WHEN,fail=N", "Stop when N jobs (or N%) failed: soon starts no more, now ends what runs.", _STOP
        ),
    ] = None,
    drain: Annotated[
        str | None, _key("--drain", "all|running", "What a first Ctrl+C still finishes.", _STOP)
    ] = None,
    drain_timeout: Annotated[
        str | None, _key("--drain-timeout", "TIME", "Then stop as a second Ctrl+C does.", _STOP)
    ] = None,
    kill_grace: Annotated[
        str | None, _key("--kill-grace", "TIME", "From asking a job to end to killing it.", _STOP)
    ] = None,
    config: Annotated[str | None, _text("FILE", "Read this configuration file.", _SET)] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Set any key, section.key=value; repeats.",
            rich_help_panel=_SET,
        ),
    ] = None,
    state_dir: Annotated[
        str | None, _key("--state-dir", "DIR", "Folder of pipeline.log; default: logs.", _SET)
    ] = None,
    log_format: Annotated[
        str | None, _key("--log-format", "text|json", "Lines to read, or one object a line.", _SET)
    ] = None,
) -> None:
    """Run jobs: simulated ones, or with -i one command or Python call per line of input.

    The first Ctrl+C lets accepted jobs finish, the second ends them, the third leaves at once.
    """
    options = {
        "pipeline.min_workers": ("--min-workers", min_workers),
        "pipeline.max_workers": ("--max-workers", max_workers),
        "pipeline.grow_threshold": ("--grow-threshold", grow_threshold),
        "pipeline.shrink_threshold": ("--shrink-threshold", shrink_threshold),
        "pipeline.check_interval": ("--check-interval", check_interval),
        "pipeline.failure_rate": ("--failure-rate", failure_rate),
        "pipeline.queue_capacity": ("--queue-capacity", queue_capacity),
        "pipeline.max_retries": ("--max-retries", max_retries),
        "pipeline.timeout": ("--timeout", timeout),
        "scaling.policy": ("--policy", policy),
        "shutdown.drain": ("--drain", drain),
        "shutdown.drain_timeout": ("--drain-timeout", drain_timeout),
        "shutdown.kill_grace": ("--kill-grace", kill_grace),
        "load.profile": ("--profile", profile),
        "log.format": ("--log-format", log_format),
        "journal.state_dir": ("--state-dir", state_dir),
    }
    request = Request(
        command=tuple(command or ()),
        inputs=tuple(inputs or ()),
        shell_command=shell_command,
        is_lines=lines,
        call=call,
        format=format,  # type: ignore[arg-type]  # checked by `Request.check`
        is_null_separated=null,
        is_dry_run=dry_run,
        is_strict=strict,
        keeps_order=keep_order,
        is_tagged=tag,
        output=output,
        is_quiet=quiet or cron,
        is_silent=cron,
        halt=halt,
        jobs_file=jobs_file,
        joblog=joblog,
        results=results,
        junit=junit,
        summary_json=summary_json,
        again=given_words(context),
        jobs=jobs,
        duration=duration,
        seed=seed,
        time_scale=time_scale,
        config=config,
        options={key: (option, text) for key, (option, text) in options.items() if text is not None},
        sets=tuple(sets or ()),
        fixed_workers=fixed_workers,
    )
    from dynamic_pipeline.cli.session import run_session  # noqa: PLC0415 - `--help` does not need the engine

    raise SystemExit(run_session(request))
