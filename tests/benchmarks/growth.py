"""Growing the pool from 2 to 256 workers, as a ratio to starting 254 bare threads. Goal: at most 1.5."""

from __future__ import annotations

import statistics
import threading
import time

from dynamic_pipeline.executors.resizable import ResizableThreadPoolExecutor

ROUNDS = 15
FROM, TO = 2, 256


def bare() -> float:
    """Seconds to start the threads by hand, each of which waits."""
    gate = threading.Event()
    began = time.perf_counter()
    threads = [threading.Thread(target=gate.wait) for _ in range(TO - FROM)]
    for thread in threads:
        thread.start()
    took = time.perf_counter() - began
    gate.set()
    for thread in threads:
        thread.join()
    return took


def ours() -> float:
    """Seconds that `resize` takes while enough calls wait, each of which waits."""
    gate = threading.Event()
    with ResizableThreadPoolExecutor(FROM) as pool:
        for _ in range(TO):
            pool.submit(gate.wait)
        began = time.perf_counter()
        pool.resize(TO)
        took = time.perf_counter() - began
        gate.set()
    return took


def main() -> None:
    ratios = [ours() / bare() for _ in range(ROUNDS)]
    print(f"resize {FROM} -> {TO} / {TO - FROM} bare threads: {statistics.median(ratios):.2f}   goal <= 1.5")


if __name__ == "__main__":
    main()
