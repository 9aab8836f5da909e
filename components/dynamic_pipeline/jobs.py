"""What is to be done: a job, and the states it goes through."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, NamedTuple


class Job(NamedTuple):
    """One unit of work, as it was accepted.

    A tuple and not a dataclass: one is made per record, and this costs a third of a frozen dataclass.
    """

    id: int  # counts from 1 in the order of acceptance
    payload: Any  # the record: whatever the source gave
    tried: int = 0  # attempts that earlier runs have spent on it


class JobState(StrEnum):
    """Where a job is; each accepted job ends in exactly one of the last four."""

    QUEUED = "queued"
    RUNNING = "running"
    RETRYING = "retrying"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    HELD = "held"
    UNFINISHED = "unfinished"
