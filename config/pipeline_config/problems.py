"""What is wrong with a configuration, and the text that a person gets to see of it."""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

_WINDOW = 100
_SCHEMA_HINT = "python pipeline.py config schema > pipeline.schema.json gives your editor completion"


class Layer(IntEnum):
    """Where settings come from; a later one wins."""

    EMBEDDED = 0
    FILE = 1
    ENVIRONMENT = 2
    COMMAND_LINE = 3


@dataclass(frozen=True)
class Place:
    """A span of one line of a file; line and column count from 1."""

    line: int
    column: int
    width: int
    source: str


@dataclass(frozen=True)
class Problem:
    """One mistake: where, what, and what to do about it. A file without a place is at fault as a whole."""

    layer: Layer
    text: str
    hint: str | None = None
    file: str | None = None
    place: Place | None = None

    @property
    def rank(self) -> tuple[int, int, int]:
        """Sorts problems in reading order: by layer, and by place in the file."""
        line, column = (self.place.line, self.place.column) if self.place else (0, 0)
        return self.layer, line, column

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        where = f"{printable(self.file)}:" if self.file is not None else ""
        if self.place:
            where += f"{self.place.line}:{self.place.column}:"
        yield f"{where} error: {self.text}".lstrip()
        if self.place:
            yield from _snippet(self.place)
        if self.hint:
            yield f"  hint: {self.hint}"


class ConfigError(Exception):
    """The configuration cannot be used. Its text is complete: every problem, and a last line for the whole."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = sorted(problems, key=lambda problem: problem.rank)
        super().__init__(self.problems)

    def __str__(self) -> str:
        return "\n".join([*map(str, self.problems), *self._summary()])

    def _summary(self) -> Iterator[str]:
        count = len(self.problems)
        files = {problem.file for problem in self.problems}
        only = files.pop() if len(files) == 1 else None
        where = printable(only) if only is not None else "the configuration"
        yield f"pipeline: {count} problem{'s' if count != 1 else ''} in {where}, nothing was run (exit 2)"
        if any(problem.place for problem in self.problems):
            yield f"  hint: {_SCHEMA_HINT}"


def printable(text: str) -> str:
    """*text* on one line, without characters that move a cursor, turn the line round or forge another."""
    return "".join(c if c.isprintable() else _escape(c) for c in text)


def quoted(text: str) -> str:
    """*text* in double quotes, as YAML reads it back."""
    return '"' + printable(text.replace("\\", "\\\\").replace('"', '\\"')) + '"'


def shortened(text: str, longest: int = 60) -> str:
    """*text*, cut where it gets too long for a message."""
    return text if len(text) <= longest else text[:longest] + "…"


def _escape(character: str) -> str:
    if character <= "\xff":
        return f"\\x{ord(character):02x}"
    return f"\\u{ord(character):04x}" if character <= "\uffff" else f"\\U{ord(character):08x}"


def _snippet(place: Place) -> Iterator[str]:
    # A line can be as long as the file; show the part around the column.
    start = max(0, place.column - 1 - _WINDOW // 2) if len(place.source) > _WINDOW else 0
    window = [_cells(c) for c in place.source[start : start + _WINDOW]]
    marked = place.column - 1 - start
    indent = sum(map(_width, window[:marked]))
    carets = sum(map(_width, window[marked : marked + place.width]))
    yield f"{place.line:>5} | {''.join(window)}".rstrip()
    yield f"      | {' ' * indent}{'^' * max(1, carets)}"


def _cells(character: str) -> str:
    return " " if character == "\t" else printable(character)


def _width(cells: str) -> int:
    # An escape is several narrow characters; anything else is one, which may take no cell, or two.
    if len(cells) > 1:
        return len(cells)
    if unicodedata.combining(cells):
        return 0
    return 2 if unicodedata.east_asian_width(cells) in "WF" else 1
