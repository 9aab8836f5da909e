"""What a walk through shell text keeps of the constructs that it is within."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum, auto

from dynamic_pipeline.templates.placeholders import Part, joined

ASSIGNMENT = re.compile(rb"([A-Za-z_]\w*)\+?=")
_OPENERS = {b"if", b"then", b"else", b"elif", b"while", b"until", b"do", b"!", b"{", b"time", b"coproc"}
_CLOSERS = {b"fi", b"done", b"}"}


class Kind(Enum):
    """A construct that nests."""

    COMMANDS = auto()  # the template itself, `( )`, `$( )`, `<( )`
    DOUBLE = auto()  # "…"
    PARAMETER = auto()  # `${…}`
    ARITHMETIC = auto()  # `$((…))`, `((…))`, `$[…]`


class Place(Enum):
    """What the next word of a command list would be."""

    COMMAND = auto()
    ARGUMENT = auto()
    NOTHING = auto()  # a compound command has ended; only a redirection or an operator may follow


class Case(Enum):
    """Where in `case … in …) … ;; esac`."""

    SUBJECT = auto()
    IN = auto()
    PATTERN = auto()
    BODY = auto()


@dataclass
class Word:
    """A word in the making, without its quotes."""

    parts: list[Part] = field(default_factory=list)
    is_plain: bool = True  # nothing in it is quoted or expanded


@dataclass
class Frame:
    """A construct that is open."""

    kind: Kind
    opener: bytes
    at: int  # where it was opened
    depth: int = 0  # of parentheses in arithmetic
    has_literal_quotes: bool = False  # `'` is no quote in a `${…}` within double quotes
    is_list: bool = False  # of words only: an array, a pattern
    place: Place = Place.COMMAND
    word: Word | None = None
    is_target: bool = False  # the next word belongs to a redirection
    is_duplicate: bool = False  # to `>&` or `<&`
    words: list[list[Part]] = field(default_factory=list)  # of the simple command so far
    cases: list[Case] = field(default_factory=list)

    @property
    def case(self) -> Case | None:
        """That of the innermost `case`."""
        return self.cases[-1] if self.cases else None

    @property
    def next_place(self) -> Place:
        """What a word that begins here would be."""
        if self.is_list or self.is_target or self.case not in {None, Case.BODY}:
            return Place.ARGUMENT
        return self.place

    @property
    def is_after_first_word(self) -> bool:
        """Where `()` would make a function of that name."""
        if self.word is None:
            return len(self.words) == 1 and not self.is_list
        return self.next_place is Place.COMMAND

    @property
    def begun(self) -> bytes:
        """What there is of the word in the making; a value that is filled in counts for nothing."""
        parts = () if self.word is None else self.word.parts
        return b"".join(part for part in parts if isinstance(part, bytes))

    @property
    def loop_variable(self) -> bytes:
        """The NAME of `for NAME in`, while its words come."""
        is_loop = self.words[:1] in ([[b"for"]], [[b"select"]]) and len(self.words) > 1
        return b"".join(part for part in self.words[1] if isinstance(part, bytes)) if is_loop else b""

    def add(self, part: Part, *, is_plain: bool) -> None:
        """Let *part* belong to the word that is in the making, or begin one."""
        if self.word is None:
            self.word = Word()
        self.word.parts.append(part)
        self.word.is_plain &= is_plain

    def end_word(self) -> None:
        """White space or an operator has come."""
        if self.word is None:
            return
        word, self.word = self.word, None
        parts = joined(word.parts)
        text = parts[0] if word.is_plain and isinstance(parts[0], bytes) else b""
        if self.is_target:
            self.is_target = False
        elif self.case not in {None, Case.BODY}:
            self._end_word_of_case(text)
        elif self.place is not Place.COMMAND or self.is_list:
            self._end_argument(text, parts)
        elif text == b"case":
            self.cases.append(Case.SUBJECT)
        elif text == b"esac" and self.cases:
            self._end_case()
        elif text in _CLOSERS:
            self.place = Place.NOTHING
        elif text not in _OPENERS and not (isinstance(parts[0], bytes) and ASSIGNMENT.match(parts[0])):
            self.words.append(parts)
            self.place = Place.ARGUMENT

    def _end_argument(self, text: bytes, parts: list[Part]) -> None:
        self.words.append(parts)
        if len(self.words) == 3 and (self.words[0], text) in (  # noqa: PLR2004 - `for NAME do`
            ([b"for"], b"do"),
            ([b"select"], b"do"),
            ([b"function"], b"{"),
        ):
            self.words, self.place = [], Place.COMMAND

    def _end_word_of_case(self, text: bytes) -> None:
        if self.case is Case.SUBJECT:
            self.cases[-1] = Case.IN
        elif self.case is Case.IN:
            self.cases[-1] = Case.PATTERN
        elif text == b"esac":
            self._end_case()

    def _end_case(self) -> None:
        self.cases.pop()
        self.place = Place.NOTHING

    def end_command(self) -> list[list[Part]]:
        """An operator or a newline has come; the words of what it ends."""
        self.end_word()
        words, self.words = self.words, []
        self.place = Place.COMMAND
        self.is_target = False
        return words
