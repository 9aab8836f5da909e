"""A shell command per record, into whose text no value is ever put: the text holds references.

`echo '{}' {/}` becomes the script `echo ''"${1}"'' "${2}"`, which is the same for all records, and the values
are its arguments. So a value is one word, or a part of one, whatever it holds.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Sequence

from dynamic_pipeline.errors import UsageError
from dynamic_pipeline.records import Record
from dynamic_pipeline.templates.inner_code import AS_NUMBER, risk_of
from dynamic_pipeline.templates.placeholders import NAMES_NO_FIELD, Placeholder, Placeholders
from dynamic_pipeline.templates.shell_cursor import Hole
from dynamic_pipeline.templates.shell_text import display, has_control, one_line
from dynamic_pipeline.templates.shell_walk import Walk
from dynamic_pipeline.views.escape import escape

_SHELL = (b"/bin/sh", b"-c")
_AROUND = {b"": (b'"', b'"'), b'"': (b"", b""), b"'": (b"'\"", b"\"'")}  # a reference, by the quotes it is in
# What uses or changes arguments of its own; functions have theirs. Then the values move into variables first.
_HAS_OWN_ARGUMENTS = re.compile(rb"\$\{?[#!]?[0-9@*]|\$#|\$\{#\}|\([ \t]*\)|\b(?:function|set|shift)\b")

# For the display: a value that needs no quotes of its own, if nothing beside it would join it.
_BARE = re.compile(rb"[A-Za-z0-9_@%+:./-]+")
_JOINS_NEXT = re.compile(rb"[$\[~\\?*+@!{][^\s;&|]*\Z")
_JOINS_PREVIOUS = re.compile(rb"[<>(~]")
_SPECIAL = re.compile(rb'["$`\\]')  # within double quotes
_RESERVED = {b"do", b"done", b"esac", b"fi", b"in", b"then", b"else", b"elif"}


class ShellTemplate:
    """The text of a shell command with its placeholders; for lines, ` {}` is appended where it has none.

    `{{` and `}}` as in `CommandTemplate`; braces within `${…}` are the shell's own.

    Args:
        text: for `/bin/sh`.
        names: see `Placeholders`.

    Raises:
        UsageError: a name or a column that the records do not have; a placeholder where no value is safe; a
            quote that is left open; no placeholder where there are fields.
    """

    def __init__(self, text: str, names: Sequence[str] = ()) -> None:
        if not text.strip():
            raise UsageError("the shell command is empty")
        raw, placeholders = os.fsencode(text), Placeholders(names)
        walk = Walk(raw, placeholders)
        if not _has_hole(walk):
            if names:
                raise UsageError(NAMES_NO_FIELD, hint="write {NAME}, or {} for all of it")
            walk = _with_record(raw, placeholders)
        self._parts = walk.parts
        self._script, self._values = _compile(walk.parts, has_variables=bool(_HAS_OWN_ARGUMENTS.search(raw)))
        self._is_one_line = not any(has_control(part) for part in walk.parts if isinstance(part, bytes))
        self.risk = risk_of(walk.commands) or _risk_of_arithmetic(walk)

    def fill(self, record: Record, number: int, slot: int) -> list[bytes]:
        """See `Template`."""
        values = (placeholder.value(record, number, slot) for placeholder in self._values)
        return [*_SHELL, self._script, b"sh", *values]

    def display(self, record: Record, number: int, slot: int) -> str:
        """See `Template`: exact where bash and `/bin/sh` agree on the text of the command."""
        if not self._is_one_line:
            return display(self.fill(record, number, slot))
        shown = b""
        for at, part in enumerate(self._parts):
            if isinstance(part, bytes):
                shown += part
            else:
                after = self._parts[at + 1] if at + 1 < len(self._parts) else b""
                shown += _shown(part.placeholder.value(record, number, slot), part, shown, after)
        return os.fsdecode(shown)


def _has_hole(walk: Walk) -> bool:
    return any(isinstance(part, Hole) for part in walk.parts)


def _risk_of_arithmetic(walk: Walk) -> str:
    """bash evaluates what a variable in arithmetic holds, `$( )` in it included."""
    for name, placeholder in walk.assigned.items():
        if name in walk.evaluated and not placeholder.kind:
            text, variable = os.fsdecode(placeholder.text), os.fsdecode(name)
            return escape(f"{text} is read as code by the arithmetic with {variable}; {AS_NUMBER}")
    return ""


def _with_record(text: bytes, placeholders: Placeholders) -> Walk:
    """*text* with the record after its last word."""
    stripped = text.rstrip()
    walk = None
    with contextlib.suppress(UsageError):
        walk = Walk((text if stripped.endswith(b"\\") else stripped) + b" {}", placeholders)
    if walk is None or not _has_hole(walk):  # at the end there is a comment, a here-document, a `done`, …
        raise UsageError(
            "the shell command has no placeholder, and the record cannot be appended to it",
            hint="write {} where the record belongs",
        )
    return walk


def _compile(parts: Sequence[bytes | Hole], *, has_variables: bool) -> tuple[bytes, list[Placeholder]]:
    """The script, and its arguments: one for each distinct value."""
    numbers: dict[Placeholder, int] = {}
    script = b""
    for part in parts:
        if isinstance(part, bytes):
            script += part
        else:
            number = numbers.setdefault(part.placeholder._replace(text=b""), len(numbers) + 1)
            before, after = _AROUND[part.quote]
            script += before + b"${%s%d}" % (b"_arg" if has_variables else b"", number) + after
    if has_variables:
        script = b" ".join(b"_arg%d=${%d}" % (i, i) for i in numbers.values()) + b"; set --; " + script
    return script, list(numbers)


def _shown(value: bytes, hole: Hole, before: bytes, after: bytes | Hole) -> bytes:
    """*value* as it would be written there, between *before* and *after*."""
    is_bare, joins = _BARE.fullmatch(value) is not None, _JOINS_NEXT.search(before) is not None
    if hole.quote == b"'" and not has_control(value):
        return value.replace(b"'", b"'\\''")
    if hole.quote == b'"' and not joins and not has_control(value) and b"!" not in value:  # `!`: history
        return _SPECIAL.sub(rb"\\\g<0>", value)
    if hole.quote:
        return hole.quote + one_line(value) + hole.quote
    joins |= isinstance(after, bytes) and _JOINS_PREVIOUS.match(after) is not None
    if is_bare and not joins and hole.is_argument and value not in _RESERVED:
        return value
    return one_line(value) if has_control(value) else b"'" + value.replace(b"'", b"'\\''") + b"'"
