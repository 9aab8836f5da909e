"""How a job's number in the file is made of its work and its number within it, which is what users see."""

from __future__ import annotations

_SPAN = 1 << 40  # as in schema.sql and queries.sql
MOST_JOBS = _SPAN - 1  # of one work


def first_of(work: int) -> int:
    """Every job of *work* has a greater number in the file than this."""
    return work * _SPAN


def last_of(work: int) -> int:
    """No job of *work* has a greater number than this."""
    return work * _SPAN + MOST_JOBS


def number_of(work: int, seq: int) -> int:
    return work * _SPAN + seq


def seq_of(job: int) -> int:
    """The number within its work."""
    return job % _SPAN
