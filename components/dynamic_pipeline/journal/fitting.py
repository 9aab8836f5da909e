"""Values made such that SQLite takes them: one that does not fit would hold up its whole batch."""

from __future__ import annotations

from dynamic_pipeline.journal.numbers import MOST_JOBS

_MOST = (1 << 63) - 1


def text(value: str, most: int) -> str:
    """*value* as text that SQLite takes: *most* characters, lone surrogates and NUL as escapes."""
    value = value[:most]
    if not value.isascii():
        value = value.encode("utf-8", "backslashreplace").decode()
    return value.replace("\0", "\\x00")


def whole(value: int) -> int:
    """*value*, or the nearest that has 64 bits."""
    return max(-_MOST, min(int(value), _MOST))


def fitting_seq(value: int) -> int:
    """A number that cannot be a job's becomes one that no job has: it must not mean a job of another work."""
    return int(value) if 0 < value <= MOST_JOBS else 0
