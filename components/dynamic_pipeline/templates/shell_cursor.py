"""The hand that goes along the text of a shell command: takes bytes, opens constructs, notes placeholders."""

from __future__ import annotations

import re
from typing import NamedTuple

from dynamic_pipeline.templates import shell_refusals as refusals
from dynamic_pipeline.templates.placeholders import Part, Placeholder, Placeholders
from dynamic_pipeline.templates.shell_frames import ASSIGNMENT, Frame, Kind, Place
from dynamic_pipeline.templates.shell_refusals import Refusal

_SUBSCRIPT = re.compile(rb"[A-Za-z_]\w*\[[^]]*\Z")


class Hole(NamedTuple):
    """A placeholder in the text, and how it is quoted there."""

    placeholder: Placeholder
    quote: bytes  # b"", b"'" or b'"'
    is_argument: bool  # not a part of the command's name


class Cursor:
    """What was taken, and what is open."""

    def __init__(self, text: bytes, placeholders: Placeholders) -> None:
        self.parts: list[bytes | Hole] = []  # of the text that was taken
        self.commands: list[list[list[Part]]] = []  # the words of those that have ended, without quotes
        self.assigned: dict[bytes, Placeholder] = {}  # values by the variable that they were put into
        self.evaluated: set[bytes] = set()  # variables in arithmetic
        self._text = text
        self._placeholders = placeholders
        self._at = 0
        self._opened = 0  # `{{`
        self._stack = [Frame(Kind.COMMANDS, b"", 0)]

    @property
    def _commands(self) -> Frame:
        """The command list to which the next byte belongs."""
        return next(frame for frame in reversed(self._stack) if frame.kind is Kind.COMMANDS)

    def _is_at(self, *texts: bytes) -> bool:
        return self._text.startswith(texts, self._at)

    def _take(self, count: int) -> None:
        """Take bytes that are syntax."""
        self.parts.append(self._text[self._at : self._at + count])
        self._at += count

    def _take_text(self, count: int, *, is_plain: bool) -> None:
        """Take bytes that belong to a word."""
        self._commands.add(self._text[self._at : self._at + count], is_plain=is_plain)
        self._take(count)

    def _push(self, kind: Kind, opener: bytes, *, is_literal: bool = False, is_list: bool = False) -> None:
        """Take *opener*, which opens a construct."""
        if opener not in {b"(", b"(("}:
            self._commands.add(b"" if kind is Kind.DOUBLE else opener, is_plain=False)
        frame = Frame(kind, opener, self._at, has_literal_quotes=is_literal, is_list=is_list)
        self._stack.append(frame)
        self._take(len(opener))

    def _end_command(self, frame: Frame) -> None:
        if words := frame.end_command():
            self.commands.append(words)

    def _within(self, opener: bytes, closer: bytes, quote: bytes, refusal: Refusal | None) -> None:
        """Take all up to *closer*; where no placeholder may stand (*refusal*), a backslash escapes it."""
        start = self._at
        self._commands.add(b"", is_plain=False)
        self._take(len(opener))
        while (char := self._text[self._at : self._at + 1]) != closer:
            if not char:
                refusals.refuse_open(self._text, start, opener)
            if not self._brace(quote, refusal):
                self._take_text(2 if refusal and char == b"\\" else 1, is_plain=False)
        self._take(1)

    def _token(self, at: int) -> re.Match[bytes] | None:
        return self._placeholders.tokens.match(self._text, at)

    def _placeholder_text(self, at: int) -> bytes:
        """That of the placeholder at *at*; empty: there is none."""
        token = self._token(at)
        return b"" if token is None or token["open"] or token["close"] else token[0]

    def _brace(self, quote: bytes, refusal: Refusal | None = None) -> bool:
        """Take the placeholder or the doubled brace that is here; False: there is none."""
        token = self._token(self._at)
        if token is None or (token["close"] and not self._opened):
            return False
        if token["open"] or token["close"]:
            self._opened += 1 if token["open"] else -1
            self.parts.append(token[0][:1])
            self._commands.add(token[0][:1], is_plain=not quote)
        else:
            self._fill_in(token, quote, refusal)
        self._at = token.end()
        return True

    def _fill_in(self, token: re.Match[bytes], quote: bytes, refusal: Refusal | None) -> None:
        found, commands = self._placeholders.of(token), self._commands
        place, begun = commands.next_place, commands.begun
        if refusal := refusal or self._refusal(place, begun):
            refusals.refuse(self._text, self._at, token[0], refusal)
        assignment = None if place is Place.ARGUMENT else ASSIGNMENT.match(begun)
        if name := commands.loop_variable if assignment is None else assignment[1]:
            self.assigned[name] = found
        self.parts.append(Hole(found, quote, place is Place.ARGUMENT or assignment is not None))
        for frame in self._stack:  # what comes out of `$( )` is a part of the outer word
            if frame.kind is Kind.COMMANDS and (frame is commands or frame.word is not None):
                frame.add(found, is_plain=False)

    def _refusal(self, place: Place, begun: bytes) -> Refusal | None:
        """Why no placeholder can stand here."""
        kinds = [frame.kind for frame in self._stack]
        if Kind.ARITHMETIC in kinds or (place is Place.COMMAND and _SUBSCRIPT.match(begun)):
            return refusals.ARITHMETIC
        if Kind.PARAMETER in kinds:
            return refusals.PARAMETER
        if self._commands.is_target and self._commands.is_duplicate:
            return refusals.DUPLICATED
        if place is Place.ARGUMENT or begun:
            return None
        return refusals.COMMAND_WORD if place is Place.COMMAND else refusals.AFTER_COMPOUND
