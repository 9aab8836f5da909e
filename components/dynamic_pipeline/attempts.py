"""One try at a job, and how it went. `run_attempt` is all of ours that runs on a worker."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import perf_counter
from typing import Any, NamedTuple

from dynamic_pipeline.errors import AttemptFailed, Interrupted, PermanentError
from dynamic_pipeline.jobs import Job


class Attempt(NamedTuple):
    """Try *number* (from 1) at *job*."""

    job: Job
    number: int


class Succeeded(NamedTuple):
    """The attempt returned."""

    value: Any  # what the work returned
    elapsed_s: float
    worker: str  # the name of the worker's thread


class Failed(NamedTuple):
    """The attempt raised; plain data, so that it can come from another process."""

    error: str  # one line or more, for people; never empty
    elapsed_s: float
    worker: str
    is_retryable: bool = True
    is_interrupted: bool = False  # cut short by a forced stop: it never counts as an attempt
    value: Any = None  # what the error carried, such as the output of a command


# Named tuples of the hot path are made by `tuple.__new__`: a third of the price of calling the class.
_new = tuple.__new__


class RunningCall:
    """What runs on a thread; empty between two calls, since an idle worker must not keep the last one alive."""

    __slots__ = ("attempt", "work", "worker")

    def __init__(self, worker: str) -> None:
        self.worker = worker  # the thread's name
        self.work: Work | None = None
        self.attempt: Attempt | None = None


# .call: its `RunningCall`, made with the first attempt; .name: asking the thread for it costs three times as much
this_thread = threading.local()

Outcome = Succeeded | Failed
# What a worker calls; whatever it raises is that attempt's failure. It may have more, which is asked for by name: `abort`
# (end what runs; any thread), `stop_flags` (for `current_job`), `keeps_time` (it sees to time limits), `when_lost(tell)` (it can be
# lost as a whole), `kill` (at once), `close` (after the run).
Work = Callable[[Attempt], Any]


def run_attempt(work: Work, attempt: Attempt) -> Outcome:
    """Run *work* and turn whatever happens into a value, for every class of exception.

    A job's failure is data: `SystemExit` and `KeyboardInterrupt` raised by a job included. A future
    that raises therefore always means that the pool itself broke.
    """
    started = perf_counter()
    try:  # one look at the thread's own, and plain attributes from there on: this is the hot path
        call = this_thread.call
    except AttributeError:
        this_thread.name = threading.current_thread().name
        call = this_thread.call = RunningCall(this_thread.name)
    call.work, call.attempt = work, attempt
    worker = call.worker
    try:
        value = work(attempt)
    except BaseException as error:  # see above
        call.work = call.attempt = None
        return Failed(
            describe(error),
            perf_counter() - started,
            worker,
            not isinstance(error, PermanentError),
            isinstance(error, Interrupted),
            getattr(error, "value", None)
            if isinstance(error, (AttemptFailed, PermanentError, Interrupted))
            else None,
        )
    call.work = call.attempt = None
    return _new(Succeeded, (value, perf_counter() - started, worker))


def describe(error: BaseException) -> str:
    """The error for people: our own say it all, others are named by their class. Never raises."""
    try:
        text = str(error)
    except BaseException:  # a hostile `__str__` must not become the pool's failure
        text = "(its text could not be read)"
    if isinstance(error, (AttemptFailed, Interrupted)) and text:
        return text
    name = type(error).__name__
    return f"{name}: {text}" if text else name
