"""What it costs to call away from the run's own threads, and what it brings: threads, processes and Dask side by side.

Three questions, each asked in interleaved rounds, so that a machine whose speed drifts slows all alike:

* a no-op call through the library's `run`: microseconds a job, less what a run of one job takes;
* work that holds the interpreter's lock, on as many workers as there are cores: how much of the cores' time is work, as
  measured by the same loop on a core alone, and beside `multiprocessing.Pool.imap_unordered` of as many processes;
* the same work on a Dask cluster of a process a core: against plain `Client.map` and `gather` on that very cluster.

Goals: processes at least 0.9 of the stdlib's pool, Dask at least 0.9 of `Client.map`. Jobs are long enough for client and
scheduler, which share the cores with the workers here, not to be what is measured.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # the cluster of the tests

from dynamic_pipeline import FixedScaling, run  # noqa: E402 - same

from tests.dask_cluster import connected, real_cluster  # noqa: E402 - same

CORES = os.cpu_count() or 1
ROUNDS = 5
LOOPS = 5_600_000  # of `burn`: some 250 ms
JOBS = 12 * CORES
NOOPS = {"threads": 20_000, "processes": 10_000, "dask": 1_000}


def noop(_: object) -> None:
    pass


def burn(loops: int) -> int:
    total = 0
    for number in range(loops):
        total += number * number
    return total


def seconds(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def ours(fn: Callable[[Any], Any], records: list[Any], executor: Any, workers: int) -> None:
    summary = run(fn, records, executor=executor, policy=FixedScaling(workers))
    assert summary.succeeded == len(records)


def cost_us(executor: Any, count: int, workers: int) -> float:
    least_s = seconds(lambda: ours(noop, [0], executor, workers))
    return (seconds(lambda: ours(noop, [0] * count, executor, workers)) - least_s) / (count - 1) * 1e6


def stdlib_us(workers: int) -> float:
    """The same of the stdlib's pool, which retries nothing: one call per job, all of them handed over at once."""
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(workers, context) as pool:
        list(pool.map(noop, range(workers)))
        count = NOOPS["processes"]
        return seconds(lambda: list(pool.map(noop, range(count)))) / count * 1e6


def main() -> None:
    records = [LOOPS] * JOBS
    costs: dict[str, list[float]] = {}
    speeds: dict[str, list[float]] = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        real_cluster(Path(folder), CORES) as cluster,
        connected(cluster, CORES) as client,
    ):
        for _ in range(ROUNDS):
            measure(records, client, costs, speeds)
    for name, values in costs.items():
        print(f"no-op call, {name:32} {statistics.median(values):9.1f} us a job")
    alone_s = statistics.median(speeds.pop("one core alone"))
    print(f"work of {alone_s / 2 * 1000:.1f} ms a job, {CORES} cores, {JOBS} jobs:")
    for name, values in speeds.items():
        efficiency = statistics.median(alone_s / 2 * JOBS / CORES / value for value in values)
        print(f"  {name:40} {efficiency:6.2f} of the cores")
    print(f"processes / Pool                {ratio(speeds, 'Pool', 'processes'):6.2f}")
    for workers in (CORES, 2 * CORES, 3 * CORES):
        print(
            f"dask -j {workers:2} / Client.map        {ratio(speeds, 'Client.map', f'dask, -j {workers}'):6.2f}"
        )


def ratio(speeds: dict[str, list[float]], base: str, name: str) -> float:
    return statistics.median(a / b for a, b in zip(speeds[base], speeds[name], strict=True))


def measure(
    records: list[int], client: Any, costs: dict[str, list[float]], speeds: dict[str, list[float]]
) -> None:
    """One round of everything."""
    for name, executor in (("threads", "threads"), ("processes", "processes"), ("dask", client)):
        for workers in (1, 8):
            costs.setdefault(f"{name}, {workers} workers", []).append(cost_us(executor, NOOPS[name], workers))

    for workers in (1, 8):
        costs.setdefault(f"ProcessPoolExecutor, {workers} workers", []).append(stdlib_us(workers))

    def pool() -> None:
        with multiprocessing.get_context("forkserver").Pool(CORES) as processes:
            assert sum(1 for _ in processes.imap_unordered(burn, records)) == len(records)

    def plain() -> None:
        assert len(client.gather(client.map(burn, records, pure=False))) == len(records)

    contenders: dict[str, Callable[[], object]] = {
        "one core alone": lambda: [burn(LOOPS) for _ in range(2)],
        "Pool": pool,
        "threads": lambda: ours(burn, records, "threads", CORES),
        "processes": lambda: ours(burn, records, "processes", CORES),
        f"processes, -j {CORES + 1}": lambda: ours(burn, records, "processes", CORES + 1),
        "Client.map": plain,
        **{
            f"dask, -j {workers}": partial(ours, burn, records, client, workers)
            for workers in (CORES, 2 * CORES, 3 * CORES)
        },
    }
    for name, act in contenders.items():
        speeds.setdefault(name, []).append(seconds(act))


if __name__ == "__main__":
    main()
