"""`--executor`: where the calls of a run are made, in the threads of its workers or away from them."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline_config import Settings

from dynamic_pipeline.attempts import Work
from dynamic_pipeline.cli.request import Request
from dynamic_pipeline.collector import Sink
from dynamic_pipeline.errors import UsageError
from dynamic_pipeline.journal.orphans import MARK

if TYPE_CHECKING:
    from dynamic_pipeline.executors.dask import Cluster


@dataclass(frozen=True)
class Engine:
    """Where work is done. `close` it when there will be no run."""

    elsewhere: Callable[[Work], Work] | None = (
        None  # puts picklable work there; None: it is done on the thread
    )
    cluster: Cluster | None = None
    sinks: Sequence[Sink] = ()
    notes: Sequence[str] = ()  # for the log
    close: Callable[[], object] = bool


def open_engine(request: Request, settings: Settings, run_id: str) -> Engine:
    """The engine that the settings name; a cluster is connected to, or started.

    Raises:
        UsageError: it does not go with the rest of what was asked for, or the cluster is of other versions.
        IoFault: there is no cluster.
    """
    kind, dask = settings.pipeline.executor, settings.pipeline.dask
    if "pipeline.dask" in request.options and kind != "dask":
        raise UsageError("--dask is where --executor dask works", hint="add --executor dask")
    if kind == "threads":
        return Engine()
    is_command = not request.is_simulation and request.call is None
    if kind == "processes":
        if is_command:
            raise UsageError(
                "--executor processes is for Python calls: a command is a process already",
                hint="leave it out, or use --executor dask for more than one machine",
            )
        return _processes(settings, run_id)
    if dask is None:
        raise UsageError(
            "--executor dask needs a cluster", hint="add --dask tcp://HOST:PORT, or --dask local"
        )
    raise UsageError("not yet")


def _processes(settings: Settings, run_id: str) -> Engine:
    from dynamic_pipeline.executors.processes import PRELOADED, ProcessWork  # noqa: PLC0415 - brings multiprocessing

    os.environ[MARK] = (
        run_id  # inherited by the processes, so that a later run finds those that outlived this one
    )
    multiprocessing.set_forkserver_preload(list(PRELOADED))
    timeout_s, grace_s = settings.pipeline.timeout, settings.shutdown.kill_grace
    return Engine(lambda work: ProcessWork(work, timeout_s=timeout_s, kill_grace_s=grace_s))
