"""`--executor`: where the calls of a run are made, in the threads of its workers or away from them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline_config import Settings

from dynamic_pipeline.attempts import Work
from dynamic_pipeline.cli.console import STDERR
from dynamic_pipeline.cli.request import Request
from dynamic_pipeline.collector import Sink
from dynamic_pipeline.errors import UsageError
from dynamic_pipeline.journal.orphans import MARK
from dynamic_pipeline.work.command import Commands
from dynamic_pipeline.work.local_commands import LocalCommands


@dataclass(frozen=True)
class Engine:
    """Where work is done."""

    elsewhere: Callable[[Work], Work] | None = (
        None  # puts picklable work there; None: it is done on the thread
    )
    commands: Callable[..., Commands] = LocalCommands
    sinks: Sequence[Sink] = ()
    notes: Sequence[str] = ()  # for the log
    close: Callable[[], object] = bool  # when the work was closed, or there will be none
    kill: Callable[[], object] = bool  # the process is about to leave at once


def open_engine(
    request: Request, settings: Settings, run_id: str, fn: Callable[..., Any] | None = None
) -> Engine:
    """The engine that the settings name; a cluster is connected to, or started. *fn* is what will be called.

    Raises:
        UsageError: it does not go with the rest of what was asked for, or the cluster cannot do the work.
        IoFault: there is no cluster.
    """
    kind, dask = settings.pipeline.executor, settings.pipeline.dask
    if "pipeline.dask" in request.options and kind != "dask":
        raise UsageError("--dask says where --executor dask works", hint="add --executor dask")
    if kind == "threads":
        return Engine()
    os.environ[MARK] = (
        run_id  # inherited by all that is started, so that a later run finds what outlived this one
    )
    if kind == "processes":
        if not request.is_simulation and request.call is None:
            raise UsageError(
                "--executor processes is for Python calls: a command is a process already",
                hint="leave it out, or use --executor dask for more than one machine",
            )
        return _processes(settings)
    if dask is None:
        raise UsageError(
            "--executor dask needs a cluster", hint="add --dask tcp://HOST:PORT, or --dask local"
        )
    return _dask(request, settings, dask, fn)


def _processes(settings: Settings) -> Engine:
    from dynamic_pipeline.executors.processes import ProcessWork  # noqa: PLC0415 - only where it is used

    timeout_s, grace_s = settings.pipeline.timeout, settings.shutdown.kill_grace
    return Engine(lambda work: ProcessWork(work, timeout_s=timeout_s, kill_grace_s=grace_s))


def _dask(request: Request, settings: Settings, name: str, fn: Callable[..., Any] | None) -> Engine:
    try:
        from dynamic_pipeline.executors.dask import DaskWork  # noqa: PLC0415 - an extra, and half of a second
        from dynamic_pipeline.executors.dask_check import Call, facts, module_of  # noqa: PLC0415 - same
        from dynamic_pipeline.executors.dask_cluster import Cluster  # noqa: PLC0415 - same
        from dynamic_pipeline.executors.dask_commands import DaskCommands  # noqa: PLC0415 - same
    except ModuleNotFoundError as error:
        raise UsageError(
            f"--executor dask needs {error.name}, which is not installed",
            hint="pip install 'dynamic-pipeline[dask]'",
        ) from None
    # What calls print would stand between the lines of results.
    cluster = Cluster(
        name, settings.pipeline.min_workers, prints_to=STDERR if request.results == "-" else None
    )
    try:
        call = None
        if request.call is not None and fn is not None:
            file = getattr(module_of(fn), "__file__", None) or ""
            call = Call(request.call, str(Path.cwd()), file)
        notes = cluster.check(call, facts(call))
    except BaseException:
        cluster.close()
        raise
    timeout_s, grace_s = settings.pipeline.timeout, settings.shutdown.kill_grace
    return Engine(
        lambda work: DaskWork(work, cluster.client, timeout_s=timeout_s, kill_grace_s=grace_s),
        lambda **settings: DaskCommands(cluster.client, **settings),
        cluster.sinks(),
        notes,
        cluster.close,
        cluster.kill,
    )
