"""The words of a command, started without a shell: a value never becomes shell text, a word stays one word."""

from __future__ import annotations

import os
from collections.abc import Sequence

from dynamic_pipeline.errors import UsageError
from dynamic_pipeline.records import Record
from dynamic_pipeline.templates.inner_code import risk_of
from dynamic_pipeline.templates.placeholders import NAMES_NO_FIELD, Placeholder, Placeholders
from dynamic_pipeline.templates.shell_text import display


class CommandTemplate:
    """The words of a command with their placeholders; the record is appended where no word has one.

    `{{` stands for `{`, and a `}}` after it for `}`. Braces that cannot be a placeholder stay as they are:
    `{print $1}`, `{a,b}`, `{"a":{"b":1}}`.

    Args:
        words: the command and its arguments.
        names: see `Placeholders`.

    Raises:
        UsageError: a name or a column that the records do not have; no placeholder where there are fields.
    """

    def __init__(self, words: Sequence[str], names: Sequence[str] = ()) -> None:
        placeholders = Placeholders(names)
        self._words = [placeholders.parts(os.fsencode(word)) for word in words]
        if not any(isinstance(part, Placeholder) for word in self._words for part in word):
            if names:
                raise UsageError(NAMES_NO_FIELD, hint="write {NAME}, or {} for all of it")
            self._words.append(placeholders.parts(b"{}"))

    def fill(self, record: Record, number: int, slot: int) -> list[bytes]:
        """See `Template`."""
        return [
            b"".join(part if isinstance(part, bytes) else part.value(record, number, slot) for part in word)
            for word in self._words
        ]

    def display(self, record: Record, number: int, slot: int) -> str:
        """See `Template`; exact in every case."""
        return display(self.fill(record, number, slot))

    @property
    def risk(self) -> str:
        """See `Template`."""
        return risk_of([self._words])
