"""`run` and `start`: the pipeline as a library. The command line is another user of the same `Run`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, TypeVar

from dynamic_pipeline.attempts import Work
from dynamic_pipeline.collector import Sink
from dynamic_pipeline.events import Event, JobFailed, JobSucceeded
from dynamic_pipeline.executors import DaskClient
from dynamic_pipeline.halting import HaltPolicy
from dynamic_pipeline.retry import RetryPolicy
from dynamic_pipeline.scaling import Load, ScalingPolicy, ThresholdScaling, as_policy
from dynamic_pipeline.signals import SignalInbox
from dynamic_pipeline.stats import Stats
from dynamic_pipeline.stop import Stop
from dynamic_pipeline.summary import Summary
from dynamic_pipeline.wiring import Run
from dynamic_pipeline.work.callable import CallOfPayload, call_with_payload, kind_problem

_T = TypeVar("_T")
Result = JobSucceeded | JobFailed  # how a job ended for good


def start(
    fn: Callable[[_T], Any],
    records: Iterable[_T],
    *,
    on_result: Callable[[Result], object] | None = None,
    min_workers: int | None = None,
    max_workers: int = 8,
    policy: ScalingPolicy | Callable[[Load], int] | None = None,
    check_interval_s: float = 1.0,
    queue_capacity: int = 200,
    max_retries: int = 3,
    timeout_s: float | None = None,
    executor: Literal["threads", "processes"] | DaskClient = "threads",
    halt: str = "never",
    drain_all: bool = True,
    drain_timeout_s: float | None = None,
    abort_grace_s: float = 2.0,
    sinks: Sequence[Sink] = (),
    on_end: Callable[[], object] = lambda: None,
) -> Run:
    """Start calling *fn* with each of *records* on a pool of threads that sizes itself; return at once.

    Args:
        fn: called on a worker's thread, or where *executor* says; what it raises, whatever its class, is that job's failure.
            `PermanentError` is not retried.
        records: any iterable. It is drawn lazily on a thread of its own, at most `queue_capacity` plus
            twice the number of workers ahead of what has been finished.
        on_result: called with each job's end, `JobSucceeded` or `JobFailed`, in order of completion, always
            on one and the same thread. What it raises stops the run and comes out of `Run.result`.
        min_workers, max_workers: bounds of the default policy, which starts with the fewest (2, if there may
            be two) and adds one per check while at least 50 jobs wait or run.
        policy: another one in place of these two: `FixedScaling(16)` always has 16 workers; a function of the
            `Load` gives their number at each check. What it raises ends the run.
        check_interval_s: seconds between two decisions of the policy.
        queue_capacity: jobs that may wait before *records* is drawn no further.
        max_retries: tries after the first one; 3 makes 4 attempts.
        timeout_s: seconds for one call; None: no limit. A thread cannot be ended, so the limit is soft: the
            job has failed, another worker takes the place of the stuck one, and what the call returns later is
            not heard. It is not tried again, and `current_job().should_stop` tells it. A call that never ends
            keeps the interpreter from ending, as any thread does.
        executor: where the calls are made. `processes`: each worker has one of its own, for work that holds the
            interpreter's lock, or may crash; *fn*, records and results are pickled, a `timeout_s` really ends the call
            (which is then tried again), and the module of the program must be importable without starting it
            (`if __name__ == "__main__":`), as ever with `multiprocessing`. A `distributed.Client`: on its cluster,
            where *fn* is pickled by `cloudpickle`, and a `timeout_s` is as soft as with threads.
        halt: `soon,fail=N` starts nothing more once N jobs have failed for good, `now,fail=N` ends what runs
            as well; `fail=X%` is a share.
        drain_all: `Run.drain` finishes all accepted jobs; False: those that have started.
        drain_timeout_s: seconds after which a drain becomes an abort; None: never.
        abort_grace_s: seconds that running calls have to end after `Run.abort`.
        sinks: hear of every event, see `Sink`.
        on_end: called on a thread of the run when it has ended.

    Installs no signal handler and no log. No thread is left behind, but for a call that does not end
    within the grace of an abort (`Summary.is_abandoned`).

    Raises:
        ValueError: a number is out of its range. TypeError: *fn* would do no work, or cannot be pickled.
    """
    if problem := kind_problem(fn):
        raise TypeError(f"{fn!r} {problem}")
    least = min(2, max_workers) if min_workers is None else min_workers
    if queue_capacity < 1:
        raise ValueError(f"queue_capacity is {queue_capacity}; it must be at least 1")
    if not 0 < check_interval_s < float("inf"):
        raise ValueError(f"check_interval_s is {check_interval_s}; it must be more than 0 seconds")
    if timeout_s is not None and not 0 < timeout_s < float("inf"):
        raise ValueError(f"timeout_s is {timeout_s}; it must be more than 0 seconds")
    for name, time_s in (("drain_timeout_s", drain_timeout_s or 0.0), ("abort_grace_s", abort_grace_s)):
        if not 0 <= time_s < float("inf"):
            raise ValueError(f"{name} is {time_s}; it must be at least 0 seconds")
    deliver = [_Deliver(on_result)] if on_result is not None else []
    halts = HaltPolicy.parse(halt)  # before the work holds anything
    work = _put(fn, executor, timeout_s, abort_grace_s)
    return Run(
        work,
        records,
        policy=ThresholdScaling(least, max_workers) if policy is None else as_policy(policy),
        retry=RetryPolicy(max_retries),
        halt=halts,
        call_timeout_s=None if getattr(work, "keeps_time", False) else timeout_s,
        check_interval_s=check_interval_s,
        queue_capacity=queue_capacity,
        sinks=[*deliver, *sinks],
        drain_all=drain_all,
        drain_timeout_s=drain_timeout_s,
        kill_grace_s=abort_grace_s,
        stop=Stop(),
        close=getattr(work, "close", bool),
        on_end=on_end,
    ).start()


def _put(
    fn: Callable[[Any], Any], executor: str | DaskClient, timeout_s: float | None, grace_s: float
) -> Work:
    """The work that calls *fn* where *executor* says."""
    if executor == "threads":
        return call_with_payload(fn)
    try:
        if executor == "processes":
            from dynamic_pipeline.executors.processes import ProcessWork  # noqa: PLC0415 - brings multiprocessing

            return ProcessWork(CallOfPayload(fn), timeout_s=timeout_s, kill_grace_s=grace_s)
        if hasattr(executor, "get_executor"):
            from dynamic_pipeline.executors.dask import DaskWork  # noqa: PLC0415 - an extra

            return DaskWork(CallOfPayload(fn), executor, timeout_s=timeout_s, kill_grace_s=grace_s)
        raise ValueError(f"executor is {executor!r}; it must be threads, processes or a Dask client")
    except TypeError as error:
        raise TypeError(f"{fn!r}: {error}") from error


def run(
    fn: Callable[[_T], Any], records: Iterable[_T], *, handle_signals: bool = False, **settings: Any
) -> Summary:
    """The same as `start`, with the same *settings*, and wait for the end.

    Args:
        handle_signals: SIGINT, SIGTERM and SIGHUP drain, a second one aborts, a third leaves the process;
            on the main thread only. Without it a `KeyboardInterrupt` aborts the run and goes on up.

    Returns:
        How it went; jobs that failed are counted and listed there, not raised.

    Raises:
        ValueError: a number is out of its range. Whatever *records* or *on_result* raised, when the
        accepted jobs have been finished.
    """
    if not handle_signals:
        return _raised(start(fn, records, **settings).result())
    signals = SignalInbox()
    signals.open()
    try:
        on_end = settings.pop("on_end", None)

        def end() -> None:
            if on_end is not None:
                on_end()
            signals.wake()

        started = start(fn, records, on_end=end, **settings)
        started.obey(signals)
        return _raised(started.result())
    finally:
        signals.restore()


def _raised(summary: Summary) -> Summary:
    if summary.error is not None:
        raise summary.error
    return summary


class _Deliver:
    """The sink behind `on_result`."""

    def __init__(self, on_result: Callable[[Result], object]) -> None:
        self._on_result = on_result

    def emit(self, events: Sequence[Event], stats: Stats) -> None:  # noqa: ARG002 - a sink's signature
        on_result = self._on_result
        for event in events:
            if type(event) is JobSucceeded or type(event) is JobFailed:
                on_result(event)

    def close(self) -> None:
        pass
