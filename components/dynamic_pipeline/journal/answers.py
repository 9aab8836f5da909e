"""What the journal answers to operations, as values."""

from __future__ import annotations

from typing import NamedTuple

from dynamic_pipeline.jobs import JobState
from dynamic_pipeline.journal.held import Caution, caution

STATES = {
    "Q": JobState.QUEUED,
    "R": JobState.RETRYING,
    "S": JobState.SUCCEEDED,
    "F": JobState.FAILED,
    "H": JobState.HELD,
}
LETTERS = {state: letter for letter, state in STATES.items()}


class Accepted(NamedTuple):
    """The job of a record."""

    seq: int
    is_new: bool
    state: JobState  # of an earlier run, if it is not new
    attempts: int  # those that count against the retries; the next one is this + 1
    caution: Caution


class StoredJob(NamedTuple):
    """A job as it was accepted, with the state that an earlier run left it in."""

    seq: int
    state: JobState
    attempts: int
    caution: Caution
    payload: bytes
    source: str
    line: int
    problem: str
    format: str
    fields: str | None


class Skipped(NamedTuple):
    """The jobs before a mark that are over."""

    succeeded: int
    failed: int
    held: int


class Rejected(NamedTuple):
    """The answer to an operation that SQLite would not take for its data; the others of its batch were done."""

    reason: str


Answer = bool | int | list[Accepted] | list[StoredJob] | Skipped | Rejected


def accepted(seq: int, state: str, attempts: int, interruptions: int, alone: int) -> Accepted:
    """A job that an earlier run, or an earlier answer, knows."""
    return Accepted(seq, False, STATES[state], attempts, caution(interruptions, alone))
