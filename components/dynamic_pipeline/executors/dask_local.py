"""`--dask local`: a scheduler and its workers, in a process and a session of their own.

So the terminal's Ctrl+C does not reach them, they take no turns of the interpreter from the run, and one signal ends
all of them. The program writes numbers of workers to standard input; when that ends, with the program or because it
needs them no more, so does everything here.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from typing import Any

_RETRY_S = 0.2  # between two looks for a worker that has nothing to do


def main(address_fd: int, workers: int) -> None:
    """Start *workers*, write the scheduler's address to the descriptor, and heed standard input to its end."""
    wanted = os.fdopen(os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # the workers', and what they start
    import dask  # noqa: PLC0415 - only here
    from distributed import LocalCluster  # noqa: PLC0415 - same

    # One death that a job is near is enough to let it run alone next, see `DaskWork`.
    dask.config.set({"distributed.scheduler.allowed-failures": 0})
    cluster = LocalCluster(
        n_workers=max(1, workers),
        threads_per_worker=1,
        dashboard_address="127.0.0.1:0",  # without one Dask takes its usual port, and warns where it cannot
        memory_limit=0,  # a worker that Dask holds to be too large would take its job with it
        silence_logs=logging.CRITICAL + 1,
    )
    with os.fdopen(address_fd, "w") as address:
        address.write(f"{cluster.scheduler_address}\n")
    size, loop = _Size(cluster, max(1, workers)), cluster.loop
    assert loop is not None, "it runs"
    try:
        for line in wanted:
            size.wanted = max(1, int(line))
            loop.add_callback(size.adjust)
    finally:
        os.killpg(0, signal.SIGKILL)  # nothing here is to be kept, and what hangs would have to be waited for


class _Size:
    """The number of workers. On the loop's thread, but for *wanted*.

    A worker goes when it has nothing to do: `LocalCluster.scale` takes those that are busy too, and their calls would
    be made again.
    """

    def __init__(self, cluster: Any, wanted: int) -> None:
        self._cluster = cluster
        self.wanted = wanted
        self._is_adjusting = False

    async def adjust(self) -> None:
        if self._is_adjusting:  # it sees what is wanted now
            return
        self._is_adjusting = True
        try:
            while (surplus := len(self._cluster.worker_spec) - self.wanted) > 0:
                await self._retire(surplus)
                await asyncio.sleep(_RETRY_S)
            if surplus < 0:
                self._cluster.scale(self.wanted)
        finally:
            self._is_adjusting = False

    async def _retire(self, most: int) -> None:
        scheduler = self._cluster.scheduler
        idle = [each for each in scheduler.workers.values() if not each.processing and not each.has_what]
        names = [each.name for each in idle[:most]]
        for each in idle[:most]:  # before anything else can happen on this loop: they get no more tasks
            scheduler.handle_worker_status_change("paused", each, "shrink")
        if names:
            await self._cluster.scale_down(names)
