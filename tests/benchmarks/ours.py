"""Our adaptors for `peers.py --plugin`: the library's `run`, and the executor alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from dynamic_pipeline.executors.resizable import ResizableThreadPoolExecutor
from dynamic_pipeline.library import run
from dynamic_pipeline.scaling import FixedScaling
from peers import Peer, one_by_one, windowed  # type: ignore[import-not-found]  # beside the project, not in it


class Ours(Peer):  # type: ignore[misc]  # see above
    """The engine: `run` with all its stages; the lead over what was delivered stays within the window."""

    name = "dynamic-pipeline"

    def run(
        self,
        inputs: Iterable[Any],
        fn: Callable[[Any], Any],
        deliver: Callable[[Any], None],
        workers: int,
        window: int,
        retries: int,
    ) -> None:
        run(
            fn,
            inputs,
            policy=FixedScaling(workers),
            queue_capacity=max(workers, window - 2 * workers),
            max_retries=retries,
            on_result=lambda result: deliver(result.outcome.value),
        )

    def latency(self, fn: Callable[[Any], Any], workers: int, loop: Callable[..., None]) -> None:
        with ResizableThreadPoolExecutor(workers) as pool:
            one_by_one(partial(pool.submit, fn), loop)


class OurExecutor(Peer):  # type: ignore[misc]  # see above
    """Our executor in the driver of `stdlib-queue`, in the place of `ThreadPoolExecutor`."""

    name = "our-executor"
    skip = ("memory", "latency")

    def run(
        self,
        inputs: Iterable[Any],
        fn: Callable[[Any], Any],
        deliver: Callable[[Any], None],
        workers: int,
        window: int,
        retries: int,
    ) -> None:
        with ResizableThreadPoolExecutor(workers) as pool:
            windowed(partial(pool.submit, fn), inputs, deliver, window, retries)
