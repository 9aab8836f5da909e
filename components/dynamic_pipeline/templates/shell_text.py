"""Bytes as text that a shell reads back as the same bytes."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

_SAFE = re.compile(rb"[A-Za-z0-9_@%+=:,./-]+")
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
_ESCAPED = re.compile(rb"[\x00-\x1f\x7f\\']")


def quoted(value: bytes) -> bytes:
    """*value* as one word of a POSIX shell."""
    if _SAFE.fullmatch(value):
        return value
    return b"'" + value.replace(b"'", b"'\\''") + b"'"


def display(argv: Sequence[bytes]) -> str:
    """The command on one line, to be copied into bash: it runs with exactly these words."""
    return os.fsdecode(b" ".join(map(one_line, argv)))


def one_line(word: bytes) -> bytes:
    """*word* as one word of bash, without control characters."""
    if not has_control(word):
        return quoted(word)
    return b"$'" + _ESCAPED.sub(_ansi_c, word) + b"'"


def has_control(text: bytes) -> bool:
    """Whether a terminal would not show all of it as it is, a newline and a tab among them."""
    return _CONTROL.search(text) is not None


def _ansi_c(found: re.Match[bytes]) -> bytes:
    char = found[0]
    return b"\\" + char if char in b"\\'" else b"\\%03o" % char[0]
