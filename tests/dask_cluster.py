"""A real cluster on this machine: a scheduler and workers, each a process of its own, for the tests to kill."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from dynamic_pipeline.executors.dask_cluster import _be_quiet

from tests.doubles import PATIENCE_S, wait_until

ROOT = Path(__file__).resolve().parents[1]


class RealCluster:
    """`dask scheduler` and `dask worker` as a person would start them."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        self._file = folder / "scheduler.json"
        # Workers find our functions as they would find a user's: on a path that they share.
        self._env = {**os.environ, "PYTHONPATH": str(ROOT), "DASK_DISTRIBUTED__WORKER__DAEMON": "True"}
        self.scheduler = self._start("scheduler", "--port", "0", "--no-dashboard", "--host", "127.0.0.1")
        wait_until(lambda: self._file.exists() and self._file.read_text().endswith("}"))
        self.address: str = json.loads(self._file.read_text())["address"]

    def worker(self, name: str, *more: str, threads: int = 1, **env: str) -> subprocess.Popen[bytes]:
        """One more, with a nanny above it, as is Dask's default; it is there when it is needed."""
        options = ("--nthreads", str(threads), "--name", name, "--no-dashboard", "--memory-limit", "0")
        return self._start("worker", *options, "--local-directory", str(self._folder), *more, **env)

    def _start(self, what: str, *options: str, **env: str) -> subprocess.Popen[bytes]:
        with (self._folder / f"{what}-{len(self._processes)}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "dask", what, "--scheduler-file", str(self._file), *options],
                cwd=self._folder,
                env={**self._env, **env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._processes.append(process)
        return process

    def close(self) -> None:
        for process in reversed(self._processes):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(PATIENCE_S)


@contextlib.contextmanager
def real_cluster(folder: Path, workers: int = 2, threads: int = 1) -> Iterator[RealCluster]:
    """A scheduler with *workers* workers of some threads each."""
    cluster = RealCluster(folder)
    try:
        for number in range(workers):
            cluster.worker(f"w{number}", threads=threads)
        yield cluster
    finally:
        cluster.close()


@contextlib.contextmanager
def connected(cluster: RealCluster, workers: int = 2) -> Iterator[object]:
    """A client of it, when so many workers are there."""
    from distributed import Client  # noqa: PLC0415 - half of a second

    before = logging.getLogger("distributed").level
    _be_quiet()
    client = Client(cluster.address, timeout=PATIENCE_S, set_as_default=False)
    try:
        client.wait_for_workers(workers, timeout=PATIENCE_S)
        yield client
    finally:
        client.close()
        logging.getLogger("distributed").setLevel(before)
