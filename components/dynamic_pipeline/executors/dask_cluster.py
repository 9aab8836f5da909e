"""The cluster of `--dask`: found or started, looked at, and let go of."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from distributed import Client
from distributed.core import rpc

from dynamic_pipeline.attempts import describe
from dynamic_pipeline.errors import IoFault, UsageError
from dynamic_pipeline.events import Event, LimitChanged, RunStarted
from dynamic_pipeline.executors.dask_check import Call, Facts, facts, refuse
from dynamic_pipeline.stats import Stats

_ANSWER_S = 10.0  # until a scheduler that does not answer is given up
_START_S = 60.0  # until a cluster of our own must have begun
_CLOSE_S = 2.0
_QUIET = logging.CRITICAL + 1
_LOCAL = """\
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from dynamic_pipeline.executors.dask_local import main
main(int(sys.argv[2]), int(sys.argv[3]))
"""

_T = TypeVar("_T")


class Cluster:
    """A connection to a scheduler; with `local` the cluster itself, too, which ends with it.

    Raises:
        UsageError: *name* is no address, or the cluster runs other versions. IoFault: there is no scheduler.
    """

    def __init__(self, name: str, workers: int = 1, *, prints_to: int | None = None) -> None:
        """*name* is `local`, or an address.

        A local one begins with so many *workers*, and what calls print goes to *prints_to*, or to our stdout.
        """
        self._name = name
        self._local: subprocess.Popen[bytes] | None = None
        _be_quiet()
        address = self._start(workers, prints_to) if name == "local" else name
        try:
            _in_time(lambda: asyncio.run(_greet(address)), _ANSWER_S + 1)
            self.client: Client = _in_time(
                lambda: Client(address, timeout=_ANSWER_S, set_as_default=False), _ANSWER_S + 1
            )
        except (ValueError, TypeError) as error:  # Dask's, for addresses that cannot be
            self._end_local()
            raise UsageError(f"--dask {name}: {str(error).partition('(')[0].strip()}") from None
        except OSError:
            self._end_local()
            raise IoFault(f"--dask {name}: no Dask scheduler answers there within {_ANSWER_S:g} s") from None
        except Exception as error:  # Dask's own, of many classes: most are of other versions
            self._end_local()
            raise IoFault(f"--dask {name}: the scheduler cannot be used: {describe(error)}") from None

    def _start(self, workers: int, prints_to: int | None) -> str:
        ours, theirs = os.pipe()
        words = json.dumps(sys.path), str(theirs), str(workers)
        self._local = subprocess.Popen(
            [sys.executable, "-c", _LOCAL, *words],
            stdin=subprocess.PIPE,
            stdout=prints_to,
            pass_fds=(theirs,),
            start_new_session=True,
        )
        os.close(theirs)
        with os.fdopen(ours) as answer:
            is_there = select.select([answer], [], [], _START_S)[0]
            address = answer.readline().strip() if is_there else ""
        if not address:
            self._end_local()
            raise IoFault("--dask local: the cluster does not start")
        return address

    def check(self, call: Call | None, here: Facts) -> list[str]:
        """Whether the processes of the cluster can run *call* (None: only commands) as this one, *here*, would.

        What there is to be said of the cluster, for the log.

        Raises:
            UsageError: one of them lacks what it needs, or has another version of it. IoFault: no answer.
        """
        try:
            found = _in_time(lambda: self._ask(call), 2 * _ANSWER_S)
        except (OSError, RuntimeError) as error:
            raise IoFault(f"--dask {self._name}: no answer: {describe(error)}") from None
        for who, said in found.items():
            try:
                refuse(who, said, here)
            except UsageError as error:
                raise UsageError(f"--dask {self._name}: {error}", hint=error.hint) from None
        threads, scheduler = self.client.nthreads(), self.client.scheduler
        assert scheduler is not None, "it has answered"
        count = len(threads)
        text = f"{count} worker{'s' * (count != 1)}, {sum(threads.values())} threads"
        warning = [] if threads else ["warning: the Dask cluster has no workers yet; jobs wait for one"]
        return [f"Dask cluster {self._name} at {scheduler.address}: {text}", *warning]

    def _ask(self, call: Call | None) -> dict[str, object]:
        try:
            scheduler: object = self.client.run_on_scheduler(facts)
        except Exception as error:  # whatever it cannot import
            scheduler = error
        workers = self.client.run(facts, call, on_error="return")
        return {
            "the scheduler": scheduler,
            **{f"worker {address}": said for address, said in workers.items()},
        }

    def sinks(self) -> Sequence[ClusterSize]:
        """What lets the cluster have as many workers as the pool may; none where its size is not ours."""
        return () if self._local is None else (ClusterSize(self._local),)

    def close(self) -> None:
        """Let go of it; again changes nothing. Blocks for a short time."""
        with contextlib.suppress(Exception):  # nothing is to be kept, and Dask may be in any state
            _in_time(lambda: self.client.close(timeout=_CLOSE_S), _CLOSE_S)
        self._end_local()

    def kill(self) -> None:
        """The last resort, before the program leaves at once."""
        self._end_local()

    def _end_local(self) -> None:
        if self._local is not None and self._local.poll() is None:
            with contextlib.suppress(OSError):
                os.killpg(self._local.pid, signal.SIGKILL)  # it has not been reaped: the number is its own
            self._local.wait()
            assert self._local.stdin is not None, "it was asked for"
            self._local.stdin.close()


class ClusterSize:
    """A sink that gives a local cluster as many workers as the pool may have."""

    def __init__(self, local: subprocess.Popen[bytes]) -> None:
        self._local = local

    def emit(self, events: Sequence[Event], stats: Stats) -> None:  # noqa: ARG002 - a sink's signature
        for event in events:
            if isinstance(event, RunStarted):
                self._set(event.limit)
            elif isinstance(event, LimitChanged):
                self._set(event.new)

    def _set(self, workers: int) -> None:
        assert self._local.stdin is not None, "it was asked for"
        with contextlib.suppress(OSError):  # it has died, as the client tells
            os.write(self._local.stdin.fileno(), b"%d\n" % workers)

    def close(self) -> None:
        pass


async def _greet(address: str) -> None:
    """Ask who is there. A client would wait for ever for a peer that is silent, and one that fails is not rid of.

    Raises:
        ValueError, TypeError: that is no address, or not of a scheduler. OSError: nobody answers.
    """
    peer = rpc(address, timeout=_ANSWER_S)
    try:
        found = await asyncio.wait_for(peer.identity(), _ANSWER_S)
    finally:
        await peer.close_rpc()
    if (kind := found.get("type")) != "Scheduler":
        raise ValueError(f"a {kind} is there, not a scheduler")


def _in_time(ask: Callable[[], _T], most_s: float) -> _T:
    """What *ask* returns or raises. Raises TimeoutError: not within *most_s* seconds; Dask waits for ever for some peers."""
    answer: list[Any] = []

    def run() -> None:
        try:
            answer.append((ask(), None))
        except BaseException as error:  # it is for the one who waits
            answer.append((None, error))

    asking = threading.Thread(target=run, name="dask-connect", daemon=True)
    asking.start()
    deadline_s = time.monotonic() + most_s
    while asking.is_alive() and time.monotonic() < deadline_s:
        asking.join(deadline_s - time.monotonic())
    if not answer:
        raise TimeoutError
    found, error = answer[0]
    if error is not None:
        raise error
    return found  # type: ignore[no-any-return]  # what `ask` returned


def _be_quiet() -> None:
    """What Dask has to say goes by; what matters of it is told by us, in one line."""
    for name in tuple(logging.root.manager.loggerDict):
        if name.partition(".")[0] in {"distributed", "tornado", "asyncio"}:
            logging.getLogger(name).setLevel(_QUIET)
