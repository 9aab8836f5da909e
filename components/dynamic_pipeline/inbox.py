"""The messages to the orchestrator. A completed attempt needs none: its future is the message."""

from __future__ import annotations

from concurrent.futures import Future
from typing import NamedTuple

from dynamic_pipeline.attempts import Attempt, Failed, Outcome
from dynamic_pipeline.scaling import Decision, Load


class SourceEnded(NamedTuple):
    """The producer will offer nothing more."""

    is_complete: bool  # the source was read to its end
    error: BaseException | None = None


class RateMissed(NamedTuple):
    """A paced source found the queue full."""

    target_per_s: float


class RateKept(NamedTuple):
    """The queue of a stalled source has emptied."""

    target_per_s: float


class Resize(NamedTuple):
    decision: Decision
    load: Load  # what the decision was made on


class TimedOut(NamedTuple):
    """A call took too long. It cannot be ended; its job is over all the same."""

    attempt: Attempt
    outcome: Failed


class Drain(NamedTuple):
    reason: str
    signal: int | None = None


class Abort(NamedTuple):
    reason: str
    signal: int | None = None


class Crashed(NamedTuple):
    """A thread of the run died of an error of ours."""

    thread: str
    error: BaseException


class Written(NamedTuple):
    """The collector has ended: nothing more will be written."""


class SinkFailed(NamedTuple):
    """A sink that the run cannot do without could not write."""

    error: BaseException


class EngineLost(NamedTuple):
    """What calls are made on is gone: none that runs will end, and none can be started."""

    error: BaseException


Control = (
    SourceEnded
    | RateMissed
    | RateKept
    | Resize
    | TimedOut
    | Drain
    | Abort
    | Crashed
    | SinkFailed
    | EngineLost
    | Written
)
Message = Control | Future[Outcome]
