"""What happened, in the past tense: the only thing that sinks ever hear of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

from dynamic_pipeline.attempts import Attempt, Failed, Succeeded
from dynamic_pipeline.jobs import Job


class RunStarted(NamedTuple):
    limit: int  # workers allowed at the start


class JobSucceeded(NamedTuple):
    attempt: Attempt
    outcome: Succeeded


class JobRetrying(NamedTuple):
    """The attempt failed and the job will be tried again: retry *attempt.number* of *max_retries*."""

    attempt: Attempt
    outcome: Failed
    max_retries: int
    delay_s: float = 0.0  # before it is due


class JobFailed(NamedTuple):
    """The job failed for good."""

    attempt: Attempt
    outcome: Failed


class JobUnfinished(NamedTuple):
    """A forced or early stop left the job undone; no attempt is charged for it."""

    job: Job
    outcome: Failed | None = None  # of the attempt that was cut short, if one ran


class LimitChanged(NamedTuple):
    old: int
    new: int
    backlog: int  # what the policy saw
    reason: str


class SourceStalled(NamedTuple):
    """A paced source cannot keep its rate because the queue is full."""

    target_per_s: float
    queued: int
    capacity: int


class SourceResumed(NamedTuple):
    """A paced source keeps its rate again."""

    target_per_s: float


class Warned(NamedTuple):
    """Something is wrong that the run can live with."""

    text: str


class Progress(NamedTuple):
    """How far a run is; told every ten seconds until it is stopped."""

    backlog: int
    retrying: int  # those of the backlog that wait to be tried again
    limit: int  # workers allowed
    oldest: Job | None  # of those that run, the one that began first


class DrainStarted(NamedTuple):
    reason: str  # why, for people
    signal: int | None  # the signal that asked for it, if one did
    backlog: int  # jobs that it will finish
    limit: int


class Draining(NamedTuple):
    backlog: int


class AbortStarted(NamedTuple):
    reason: str
    unfinished: int  # jobs that are given up now; running ones may follow


class JobsClosed(NamedTuple):
    """All accepted jobs have ended; workers and supervisor stop."""


class RunFinished(NamedTuple):
    """The last event of a run."""

    is_graceful: bool  # every accepted job was finished


class Telling(Protocol):
    """Where events are put for the sinks to hear of."""

    def put(self, event: Any, /) -> None: ...
    def put_all(self, events: Iterable[Any], /) -> None: ...
    def has_room(self) -> bool:
        """Whether those who hear keep up."""
        ...


Event = (
    JobSucceeded
    | JobRetrying
    | JobFailed
    | JobUnfinished
    | RunStarted
    | LimitChanged
    | SourceStalled
    | SourceResumed
    | Warned
    | Progress
    | DrainStarted
    | Draining
    | AbortStarted
    | JobsClosed
    | RunFinished
)
