"""`run`: arguments → settings → a run → its exit code."""

from __future__ import annotations

from typing import Annotated

import typer

from dynamic_pipeline.cli.given import given_words
from dynamic_pipeline.cli.options import (
    JOURNAL,
    POOL,
    REPORT,
    SET,
    SIM,
    STOP,
    WORK,
    flag,
    given_keys,
    key,
    text,
)
from dynamic_pipeline.cli.request import Request


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
            rich_help_panel=WORK,
        ),
    ] = None,
    shell_command: Annotated[
        str | None,
        text(
            "TEXT", "A shell command per record; {} is safe in quotes and without.", WORK, "-c", "--command"
        ),
    ] = None,
    lines: Annotated[bool, flag("Each record is a shell command itself.", WORK, "--lines")] = False,
    call: Annotated[
        str | None,
        text("PKG.MOD:FUNC", "A Python call per record, in place of a command.", WORK),
    ] = None,
    format: Annotated[  # noqa: A002 - the option's name
        str | None,
        text("lines|csv|tsv|jsonl", "What the records are; default: by suffix, else lines.", WORK),
    ] = None,
    null: Annotated[bool, flag("Records end with NUL, as of find -print0.", WORK, "-0", "--null")] = False,
    dry_run: Annotated[bool, flag("Print the commands, run none of them.", WORK, "--dry-run")] = False,
    strict: Annotated[
        bool,
        flag("Refuse a {} that an inner shell would read as code.", WORK, "--strict"),
    ] = False,
    keep_order: Annotated[
        bool,
        flag("Show outputs in the order of the input.", WORK, "-k", "--keep-order"),
    ] = False,
    tag: Annotated[bool, flag("Put the record before each line of output.", WORK, "--tag")] = False,
    output: Annotated[
        str | None,
        text("DIR", "Keep outputs in files DIR/ID.out and DIR/ID.err, show none.", WORK),
    ] = None,
    quiet: Annotated[
        bool,
        flag("Show outputs of failed jobs only, and warnings.", WORK, "-q", "--quiet"),
    ] = False,
    cron: Annotated[bool, flag("Print nothing at all unless something failed.", WORK, "--cron")] = False,
    resume: Annotated[
        bool,
        flag(
            "Go on with the latest run of the same work: what is done is not done again.", JOURNAL, "--resume"
        ),
    ] = False,
    retry_failed: Annotated[
        bool, flag("The same, and what failed is tried again.", JOURNAL, "--retry-failed")
    ] = False,
    durability: Annotated[
        str | None,
        key("--durability", "full|normal|off", "What the journal survives; off: there is none.", JOURNAL),
    ] = None,
    orphans: Annotated[
        str | None, key("--orphans", "kill|wait|ignore", "What a killed run has left running.", JOURNAL)
    ] = None,
    if_locked: Annotated[
        str, text("fail|skip", "Another run holds the journal: leave with 75, or with 0.", JOURNAL)
    ] = "fail",
    joblog: Annotated[
        str | None,
        text("FILE", "A row per finished job, as GNU parallel writes it; +FILE appends.", REPORT),
    ] = None,
    results: Annotated[
        str | None,
        text(
            "FILE|-",
            "A line of JSON per job, with what a call returned; +FILE appends. With - prints go to stderr.",
            REPORT,
        ),
    ] = None,
    junit: Annotated[str | None, text("FILE", "A JUnit XML report, as CI systems read it.", REPORT)] = None,
    summary_json: Annotated[str | None, text("FILE", "How it ended, as one JSON object.", REPORT)] = None,
    metrics_file: Annotated[
        str | None, text("FILE", "Prometheus metrics, every few seconds and at the end.", REPORT)
    ] = None,
    serve: Annotated[
        str | None,
        text("HOST:PORT", "Show the run to a browser, and to Prometheus, while it goes on.", REPORT),
    ] = None,
    record_trace: Annotated[
        str | None,
        text("FILE", "When jobs came and how long they took, for `simulate --trace FILE`.", REPORT),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, help="Stop after N simulated jobs.", rich_help_panel=SIM),
    ] = None,
    duration: Annotated[str | None, text("TIME", "Stop making jobs after TIME, such as 70s.", SIM)] = None,
    seed: Annotated[
        int | None,
        text("N", "Same seed, same durations and failures.", SIM),
    ] = None,
    time_scale: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            min=0,
            help="Multiply all simulated times; 0 waits for nothing.",
            rich_help_panel=SIM,
        ),
    ] = None,
    profile: Annotated[
        str | None, key("--profile", "seed|demo", "The load: when jobs come, how long they take.", SIM)
    ] = None,
    failure_rate: Annotated[
        str | None, key("--failure-rate", "N", "About one attempt in N fails; 0: none.", SIM)
    ] = None,
    executor: Annotated[
        str | None,
        key("--executor", "threads|processes|dask", "Where Python calls run; dask: commands too.", POOL),
    ] = None,
    dask: Annotated[
        str | None,
        key("--dask", "ADDRESS|local", "The scheduler of the cluster; local: one of our own.", POOL),
    ] = None,
    fixed_workers: Annotated[
        str | None,
        typer.Option(
            "-j", metavar="N", help="Always N workers: --policy fixed --max-workers N.", rich_help_panel=POOL
        ),
    ] = None,
    jobs_file: Annotated[
        str | None,
        text("FILE", "Holds N or MIN MAX, read again at each check; 0 pauses.", POOL),
    ] = None,
    min_workers: Annotated[str | None, key("--min-workers", "N", "Never fewer workers.", POOL)] = None,
    max_workers: Annotated[str | None, key("--max-workers", "N", "Never more workers.", POOL)] = None,
    policy: Annotated[
        str | None, key("--policy", "threshold|target|fixed", "How the pool is sized.", POOL)
    ] = None,
    grow_threshold: Annotated[
        str | None, key("--grow-threshold", "N", "Backlog that adds a worker.", POOL)
    ] = None,
    shrink_threshold: Annotated[
        str | None, key("--shrink-threshold", "N", "Backlog that removes one.", POOL)
    ] = None,
    check_interval: Annotated[
        str | None, key("--check-interval", "TIME", "Time between two checks.", POOL)
    ] = None,
    queue_capacity: Annotated[str | None, key("--queue-capacity", "N", "Jobs that may wait.", POOL)] = None,
    max_retries: Annotated[str | None, key("--max-retries", "N", "Tries after the first one.", POOL)] = None,
    timeout: Annotated[
        str | None,
        key(
            "--timeout",
            "TIME",
            "Time for one attempt; what cannot be ended, a call in a thread, is left behind.",
            WORK,
        ),
    ] = None,
    halt: Annotated[
        str | None,
        text(
            "WHEN,fail=N", "Stop when N jobs (or N%) failed: soon starts no more, now ends what runs.", STOP
        ),
    ] = None,
    drain: Annotated[
        str | None, key("--drain", "all|running", "What a first Ctrl+C still finishes.", STOP)
    ] = None,
    drain_timeout: Annotated[
        str | None, key("--drain-timeout", "TIME", "Then stop as a second Ctrl+C does.", STOP)
    ] = None,
    kill_grace: Annotated[
        str | None, key("--kill-grace", "TIME", "From asking a job to end to killing it.", STOP)
    ] = None,
    config: Annotated[str | None, text("FILE", "Read this configuration file.", SET)] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Set any key, section.key=value; repeats.",
            rich_help_panel=SET,
        ),
    ] = None,
    state_dir: Annotated[
        str | None, key("--state-dir", "DIR", "Folder of log and journal; default: logs.", SET)
    ] = None,
    log_format: Annotated[
        str | None, key("--log-format", "text|json", "Lines to read, or one object a line.", SET)
    ] = None,
) -> None:
    """Run jobs: simulated ones, or with -i one command or Python call per line of input.

    The first Ctrl+C lets accepted jobs finish, the second ends them, the third leaves at once.
    """
    options = given_keys(locals())
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
        is_resumed=resume or retry_failed,
        retries_failed=retry_failed,
        if_locked=if_locked,
        joblog=joblog,
        results=results,
        junit=junit,
        summary_json=summary_json,
        record_trace=record_trace,
        metrics_file=metrics_file,
        serve=serve,
        again=given_words(context),
        jobs=jobs,
        duration=duration,
        seed=seed,
        time_scale=time_scale,
        config=config,
        options=options,
        sets=tuple(sets or ()),
        fixed_workers=fixed_workers,
    )
    from dynamic_pipeline.cli.session import run_session  # noqa: PLC0415 - `--help` does not need the engine

    raise SystemExit(run_session(request))
