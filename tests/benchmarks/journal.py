"""No-op jobs through the journal's thread, start committed before the body and finish after, against none at all.

Eight threads submit, each with one job in hand, as in a pool without look-ahead, or with a window of eight. One thread
with a window of 64 is nearest to an orchestrator, which posts what a step has decided in one go.
"""

from __future__ import annotations

import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from dynamic_pipeline.handover import Handover
from dynamic_pipeline.journal.identity import job_key, task_fingerprint
from dynamic_pipeline.journal.operations import Accept, Finish, NewJob, Operation, Start
from dynamic_pipeline.journal.runs import NewRun
from dynamic_pipeline.journal.store import Durability, Store
from dynamic_pipeline.journal.writer import JournalWriter

ROUNDS = 5
SHAPES = (8, 1), (8, 8), (1, 64)  # threads, window of each
JOBS = 16_000  # of one measurement, per window
TASK = task_fingerprint({"kind": "no-op"})


class OpenGates:
    """In the place of a writer: each operation is answered at once, by the thread that takes it."""

    def __init__(self) -> None:
        self._posted: Handover[Any] = Handover()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while True:
            for posted in self._posted.take_wait():
                if posted is None:
                    return
                posted[1](True)

    def post_all(self, posted: list[tuple[Operation, Any]]) -> None:
        self._posted.put_all(posted)

    def close(self) -> None:
        self._posted.put(None)
        self._thread.join()


def submit(writer: Any, numbers: range, window: int) -> None:
    """Start, run nothing, finish: *window* jobs at a time."""
    gate = threading.Lock()
    gate.acquire()
    left = 0

    def then(answer: object) -> None:
        nonlocal left
        assert answer is True
        left -= 1
        if not left:
            gate.release()

    for at in range(0, len(numbers), window):
        mine = numbers[at : at + window]
        left = len(mine)
        writer.post_all([(Start.of(seq, 1, worker="w"), then) for seq in mine])
        gate.acquire()
        left = len(mine)
        writer.post_all([(Finish.of(seq, 1, "succeeded"), then) for seq in mine])
        gate.acquire()


def jobs_per_s(writer: Any, count: int, window: int) -> float:
    share = JOBS // count
    ranges = [range(1 + share * n, 1 + share * (n + 1)) for n in range(count)]
    threads = [threading.Thread(target=submit, args=(writer, numbers, window)) for numbers in ranges]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - began
    writer.close()
    return JOBS / took


def journalled(folder: Path, durability: Durability, count: int, window: int) -> float:
    store = Store.open(folder / "journal.db", durability)
    store.begin_run(NewRun("bench", TASK, {"kind": "no-op"}, "run", 0, "host", "boot", 1))
    for at in range(0, JOBS, 200):
        payloads = [b"record %d" % n for n in range(at, min(at + 200, JOBS))]
        store.apply([Accept(tuple(NewJob.of(job_key(TASK, p), p) for p in payloads))])

    def crash(_: str, error: BaseException) -> None:
        raise error

    writer = JournalWriter(store, on_crash=crash)
    writer.start()
    return jobs_per_s(writer, count, window)


def main() -> None:
    for count, window in SHAPES:
        rates: dict[str, list[float]] = {"none": [], "normal": [], "full": []}
        for _ in range(ROUNDS):
            rates["none"].append(jobs_per_s(OpenGates(), count, window))
            for durability in ("normal", "full"):
                with tempfile.TemporaryDirectory() as folder:
                    rates[durability].append(journalled(Path(folder), durability, count, window))
        none = statistics.median(rates["none"])
        for name, found in rates.items():
            rate = statistics.median(found)
            print(
                f"threads {count}  window {window:2}   journal {name:6}   {rate:9.0f} jobs/s   {rate / none:.2f} of none"
            )


if __name__ == "__main__":
    main()
