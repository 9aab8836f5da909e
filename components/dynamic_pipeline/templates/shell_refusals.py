"""Where a placeholder cannot stand in a shell command, and what to write instead."""

from __future__ import annotations

import os
from typing import NamedTuple, NoReturn

from dynamic_pipeline.errors import UsageError
from dynamic_pipeline.views.escape import escape


class Refusal(NamedTuple):
    """`%s` is the placeholder."""

    where: str
    hint: str


BACKTICKS = Refusal("inside backticks, where no quoting is safe", "write $( ) in place of backticks")
HERE_DOCUMENT = Refusal("in a here-document", "printf '%%s\\n' %s | COMMAND gives it the same input")
ANSI_C = Refusal("inside $'…', where its backslashes would count", "end the quotes before it: $'…'%s")
PARAMETER = Refusal("inside ${…}", 'put it into a variable first: v=%s; echo "${x:-$v}"')
ARITHMETIC = Refusal(
    "where arithmetic would evaluate it as code", "expr takes it as a plain number: $(expr %s + 1)"
)
BACKSLASH = Refusal("directly after a backslash", "leave out the backslash; {%s} is the text %s")
DOLLAR = Refusal("directly after a dollar sign", "write \\$%s for a dollar and the value")
COMMAND_WORD = Refusal(
    "where the name of a command belongs",
    "put a command before it; for records that are commands themselves there is --lines",
)
DUPLICATED = Refusal("after >& or <&, where bash would expand it twice", "write >%s 2>&1")
AFTER_COMPOUND = Refusal("after the end of a compound command", "write %s where a command takes it")


def refuse(text: bytes, at: int, placeholder: bytes, refusal: Refusal) -> NoReturn:
    """Say that *placeholder* cannot stand in *text* at *at*."""
    name = escape(os.fsdecode(placeholder))
    hint = refusal.hint.replace("%s", name).replace("%" + name, "%s")  # `%%s` was meant for printf
    raise UsageError(f"{name} at {place(text, at)} stands {refusal.where}", hint=hint)


def refuse_open(text: bytes, at: int, opener: bytes) -> NoReturn:
    """Say that what *opener* opened at *at* is never closed."""
    raise UsageError(
        f"the command ends within the {os.fsdecode(opener)} at {place(text, at)}", hint="close it"
    )


def refuse_arithmetic(text: bytes, at: int) -> NoReturn:
    """Say that `((` was not closed by `))`."""
    raise UsageError(
        f"the (( at {place(text, at)} begins arithmetic, but no )) ends it",
        hint="write ( ( with a blank for two subshells",
    )


def refuse_last_backslash() -> NoReturn:
    """Say that a backslash has nothing to quote."""
    raise UsageError("the command ends with a backslash", hint="leave it out, or double it")


def place(text: bytes, at: int) -> str:
    """The column of *at*, with its line where there are several."""
    line = text.count(b"\n", 0, at) + 1
    column = len(os.fsdecode(text[text.rfind(b"\n", 0, at) + 1 : at])) + 1
    return f"line {line}, column {column}" if b"\n" in text else f"column {column}"
