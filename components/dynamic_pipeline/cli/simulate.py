"""`simulate`: what a policy would have done with a load, in no time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from pipeline_config import Settings

    from dynamic_pipeline.scaling import ScalingPolicy
    from dynamic_pipeline.simulation.bound import Bound
    from dynamic_pipeline.simulation.traces import Trace

_POLICIES = ("threshold", "target", "fixed")


def simulate(
    trace: Annotated[
        str,
        typer.Option(
            "--trace", metavar="NAME|FILE", help="steady, square, spike, ramp, cycle, or what a run recorded."
        ),
    ] = "steady",
    policy: Annotated[
        list[str] | None,
        typer.Option(
            "--policy", metavar="NAME|MODULE:FUNCTION", help="One of the settings', or yours; repeats."
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Of a named trace, and of jitter.")] = 1,
    config: Annotated[str | None, typer.Option("--config", metavar="FILE", help="Read this file.")] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Set one key, section.key=value; repeats."),
    ] = None,
    *,
    compare: Annotated[
        bool, typer.Option("--compare", help="All policies of the settings, side by side.")
    ] = False,
    format: Annotated[  # noqa: A002 - the option's name
        str, typer.Option("--format", metavar="table|json", help="How it is printed.")
    ] = "table",
) -> None:
    """What each policy does with a load, on a virtual clock: figures of merit, to choose thresholds by."""
    import pipeline_config  # noqa: PLC0415 - `--help` does not need it

    from dynamic_pipeline.cli.console import with_hint  # noqa: PLC0415 - same
    from dynamic_pipeline.errors import UsageError  # noqa: PLC0415 - same

    if format not in {"table", "json"}:
        typer.echo(f"pipeline: error: --format {format}: it must be table or json", err=True)
        raise typer.Exit(2)
    try:
        overrides = [pipeline_config.Override.from_set(text) for text in sets or ()]
        settings = pipeline_config.load(config, overrides=overrides).settings
        names = [*(_POLICIES if compare else ()), *(policy or ())] or [settings.scaling.policy]
        load = _load(trace, seed)
        bound = _bound(load, settings)
        found = {name: _figures(name, load, bound, seed, settings) for name in dict.fromkeys(names)}
    except pipeline_config.ConfigError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    except UsageError as error:
        typer.echo(with_hint(f"pipeline: error: {error}", error.hint), err=True)
        raise typer.Exit(2) from None
    typer.echo(
        json.dumps({"trace": trace, "seed": seed, "policies": found}) if format == "json" else _table(found)
    )


def _bound(load: Trace, settings: Settings) -> Bound | None:
    """None for a closed load, whose jobs come as the policy lets them."""
    from dynamic_pipeline.simulation.bound import clairvoyant  # noqa: PLC0415 - `--help` does not need it

    if load.is_closed:
        return None
    pipeline = settings.pipeline
    arrivals = [(job.at_s, job.work_s(pipeline.max_retries)) for job in load.jobs]
    return clairvoyant(arrivals, pipeline.min_workers, pipeline.max_workers, pipeline.check_interval)


def _figures(name: str, load: Trace, bound: Bound | None, seed: int, settings: Settings) -> dict[str, Any]:
    from dynamic_pipeline.attempts import describe  # noqa: PLC0415 - `--help` does not need it
    from dynamic_pipeline.cli.policy import make_retry  # noqa: PLC0415 - same
    from dynamic_pipeline.errors import UsageError  # noqa: PLC0415 - same
    from dynamic_pipeline.simulation.figures import figures  # noqa: PLC0415 - same
    from dynamic_pipeline.simulation.virtual_run import VirtualRun  # noqa: PLC0415 - same

    policy = _policy(name, settings)
    try:
        least = policy.start()
        run = VirtualRun(
            load,
            policy,
            retry=make_retry(settings, seed),
            interval_s=settings.pipeline.check_interval,
            queue_capacity=settings.pipeline.queue_capacity,
        ).run()
    except Exception as error:
        if name in _POLICIES:
            raise
        raise UsageError(f"--policy {name}: raised {describe(error)}") from error
    return figures(run, least, bound, settings.pipeline.check_interval)


def _load(trace: str, seed: int) -> Trace:
    from dynamic_pipeline.errors import UsageError  # noqa: PLC0415 - `--help` does not need it
    from dynamic_pipeline.simulation import traces  # noqa: PLC0415 - `--help` does not need it

    if trace in traces.NAMES:
        return traces.named(trace, seed)
    try:
        return traces.read(Path(trace))
    except FileNotFoundError:
        names = ", ".join(traces.NAMES)
        raise UsageError(f"--trace {trace}: there is no such file; the named ones are {names}") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"--trace {trace}: {getattr(error, 'strerror', None) or error}") from None


def _policy(name: str, settings: Settings) -> ScalingPolicy:
    """One of the settings', with what they say; or the user's, which is imported."""
    from dynamic_pipeline.cli.policy import make_policy  # noqa: PLC0415 - `--help` does not need it
    from dynamic_pipeline.cli.request import Request  # noqa: PLC0415 - same
    from dynamic_pipeline.scaling import as_policy  # noqa: PLC0415 - same
    from dynamic_pipeline.work.callable import resolve  # noqa: PLC0415 - same

    if name in _POLICIES:
        scaling = settings.scaling.model_copy(update={"policy": name})
        return make_policy(Request(), settings.model_copy(update={"scaling": scaling}))
    return as_policy(resolve(name, "--policy", "one Load"))


def _table(found: dict[str, dict[str, Any]]) -> str:
    """A line per figure, a column per policy."""
    rows = [["", *found], *([name, *map(_shown, row)] for name, *row in _transposed(found))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        f"{row[0]:<{widths[0]}}"
        + "".join(f"  {cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True))
        for row in rows
    )


def _transposed(found: dict[str, dict[str, Any]]) -> list[list[Any]]:
    return [[name, *(one[name] for one in found.values())] for name in next(iter(found.values()))]


def _shown(value: Any) -> str:
    return "-" if value is None else f"{value:.1f}" if isinstance(value, float) else str(value)
