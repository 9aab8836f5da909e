"""A walk through the text of a shell command: finds what kind of quoting each placeholder stands in.

It knows enough of the grammar to tell quoting and places apart, and leaves errors of syntax to the shell.
If it misjudges one, a value comes out wrong, but is not run: what stands in the text is a reference.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from dynamic_pipeline.templates import shell_refusals as refusals
from dynamic_pipeline.templates.placeholders import Placeholders
from dynamic_pipeline.templates.shell_cursor import Cursor
from dynamic_pipeline.templates.shell_frames import Case, Frame, Kind, Place

_REDIRECTION = re.compile(rb"<<<|<<-?|<>|<&|>>|>&|>\||&>>?|<|>")
_FUNCTION = re.compile(rb"\([ \t]*\)")
_DELIMITER = re.compile(rb"[ \t]*((?:'[^']*'|\"[^\"]*\"|\\.|[^\s;&|<>()'\"\\])+)", re.DOTALL)
_PATTERN = re.compile(rb"\$\{(?:\w+|[@*?$!-])(?:\[[^]]*\])?[#%/^,]")  # `${x#…}`: its quotes are quotes
_NAME = re.compile(rb"[A-Za-z_]\w*")
_NO_PARAMETER = re.compile(rb"\$\{[}/.:%]")  # a `$`, then a placeholder


class Walk(Cursor):
    """Its `parts` and `commands` are those of the whole text.

    Raises:
        UsageError: a placeholder where no value is safe, or a quote that is left open.
    """

    def __init__(self, text: bytes, placeholders: Placeholders) -> None:
        super().__init__(text, placeholders)
        self._here_documents: list[
            tuple[bytes, bool]
        ] = []  # delimiters to come; are tabs before them dropped
        steps: dict[Kind, Callable[[Frame, bytes], None]] = {
            Kind.COMMANDS: self._in_commands,
            Kind.DOUBLE: self._in_double,
            Kind.PARAMETER: self._in_parameter,
            Kind.ARITHMETIC: self._in_arithmetic,
        }
        while self._at < len(text):
            frame = self._stack[-1]
            steps[frame.kind](frame, text[self._at : self._at + 1])
        frame = self._stack[-1]
        if frame.opener:
            refusals.refuse_open(text, frame.at, frame.opener)
        self._end_command(frame)

    # Steps: each takes at least one byte.

    def _in_commands(self, frame: Frame, char: bytes) -> None:
        if self._brace(b""):
            return
        if char in b"'\"`$\\":
            self._quote_or_expansion(char, is_double=False)
        elif char == b"#" and frame.word is None:
            self._take_to(self._text.find(b"\n", self._at))
        elif char in b" \t":
            frame.end_word()
            self._take(1)
        elif char == b"\n":
            self._end_command(frame)
            self._take(1)
            self._read_here_documents()
        elif self._is_at(b"<", b">", b"&>"):
            self._redirection(frame)
        elif char in b";&|":
            self._operator(frame)
        elif char == b"(":
            self._opening_parenthesis(frame)
        elif char == b")":
            self._closing_parenthesis(frame)
        else:
            self._take_text(1, is_plain=True)

    def _in_double(self, _: Frame, char: bytes) -> None:
        if self._brace(b'"'):
            return
        if char == b'"':
            self._stack.pop()
            self._take(1)
        elif char in b"`$\\":
            self._quote_or_expansion(char, is_double=True)
        else:
            self._take_text(1, is_plain=False)

    def _in_parameter(self, frame: Frame, char: bytes) -> None:
        if token := self._placeholder_text(self._at):  # doubled braces are the shell's own here
            refusals.refuse(self._text, self._at, token, refusals.PARAMETER)
        if char == b"}":
            self._stack.pop()
            self._take(1)
        elif char in b'"`$\\' or (char == b"'" and not frame.has_literal_quotes):
            self._quote_or_expansion(char, is_double=frame.has_literal_quotes)
        else:
            self._take(1)

    def _in_arithmetic(self, frame: Frame, char: bytes) -> None:
        opening, closing = (b"[", b"]") if frame.opener == b"$[" else (b"(", b")")
        if self._brace(b'"'):
            return
        if char in b"`$\\":
            self._quote_or_expansion(char, is_double=True)
        elif char == closing and frame.depth == 0:
            if closing == b")" and not self._is_at(b"))"):
                refusals.refuse_arithmetic(self._text, frame.at)
            self._stack.pop()
            self._take(2 if closing == b")" else 1)
            self.evaluated.update(_NAME.findall(self._text[frame.at : self._at]))
            if frame.opener == b"((":
                self._commands.place = Place.NOTHING
        else:
            frame.depth += (char == opening) - (char == closing)
            self._take(1)

    def _quote_or_expansion(self, char: bytes, *, is_double: bool) -> None:
        if char == b"\\":
            self._escape()
        elif char == b"'":
            self._within(b"'", b"'", b"'", None)
        elif char == b'"':
            self._push(Kind.DOUBLE, b'"')
        elif char == b"`":
            self._within(b"`", b"`", b"", refusals.BACKTICKS)
        elif self._is_at(b"$((", b"$["):
            self._push(Kind.ARITHMETIC, b"$((" if self._is_at(b"$((") else b"$[")
        elif self._is_at(b"$("):
            self._push(Kind.COMMANDS, b"$(")
        elif self._is_at(b"${"):
            token = self._placeholder_text(self._at + 1)
            if token and _NO_PARAMETER.match(self._text, self._at):
                refusals.refuse(self._text, self._at + 1, token, refusals.DOLLAR)
            is_literal = is_double and not _PATTERN.match(self._text, self._at)
            self._push(Kind.PARAMETER, b"${", is_literal=is_literal)
        elif self._is_at(b"$'") and not is_double:
            self._within(b"$'", b"'", b"", refusals.ANSI_C)
        else:  # `$$` and `$#` are one thing
            self._take_text(2 if self._is_at(b"$$", b"$#") else 1, is_plain=False)

    def _escape(self) -> None:
        if token := self._placeholder_text(self._at + 1):
            refusals.refuse(self._text, self._at + 1, token, refusals.BACKSLASH)
        if self._at + 1 == len(self._text):
            refusals.refuse_last_backslash()
        if self._is_at(b"\\\n"):  # both go
            self._take(2)
            return
        self._take(1)
        if not self._brace(b"\\"):  # `\\{{` is an escaped brace
            self._take_text(1, is_plain=False)

    # Commands and their operators.

    def _redirection(self, frame: Frame) -> None:
        if self._is_at(b"<(", b">("):
            self._push(Kind.COMMANDS, self._text[self._at : self._at + 2])
            return
        if frame.word is not None and frame.word.is_plain and frame.begun.isdigit():
            frame.word = None  # `2>`
        frame.end_word()
        operator = _REDIRECTION.match(self._text, self._at)
        assert operator is not None
        self._take(len(operator[0]))
        frame.is_target, frame.is_duplicate = True, operator[0] in {b">&", b"<&"}
        if operator[0] in {b"<<", b"<<-"} and (found := _DELIMITER.match(self._text, self._at)):
            start = found.start(1)
            for at in range(start, found.end()):
                if token := self._placeholder_text(at):
                    refusals.refuse(self._text, at, token, refusals.HERE_DOCUMENT)
            delimiter = re.sub(rb"[\\'\"]", b"", found[1])
            self._here_documents.append((delimiter, operator[0] == b"<<-"))
            self._take_to(found.end())
            frame.is_target = False

    def _read_here_documents(self) -> None:
        for delimiter, is_indented in self._here_documents:
            is_end = False
            while self._at < len(self._text) and not is_end:
                end = self._text.find(b"\n", self._at) + 1 or len(self._text)
                line = self._text[self._at : end].rstrip(b"\n")
                is_end = (line.lstrip(b"\t") if is_indented else line) == delimiter
                while self._at < end:
                    if is_end or not self._brace(b'"', refusals.HERE_DOCUMENT):
                        self._take(1)
        self._here_documents.clear()

    def _operator(self, frame: Frame) -> None:
        frame.end_word()  # it may be `esac`
        if frame.case is not Case.PATTERN:
            self._end_command(frame)
            if frame.case is Case.BODY and self._is_at(b";;", b";&"):
                frame.cases[-1] = Case.PATTERN
                self._take(1)
        self._take(1)

    def _opening_parenthesis(self, frame: Frame) -> None:
        found = _FUNCTION.match(self._text, self._at)
        if found and frame.is_after_first_word:
            self._end_command(frame)
            self._take_to(found.end())
        elif frame.case is Case.PATTERN and frame.word is None:
            self._take(1)
        elif frame.word is not None:
            self._push(Kind.COMMANDS, b"(", is_list=True)
        elif self._is_at(b"((") and (frame.place is Place.COMMAND or frame.words == [[b"for"]]):
            self._push(Kind.ARITHMETIC, b"((")
        else:
            self._push(Kind.COMMANDS, b"(")

    def _closing_parenthesis(self, frame: Frame) -> None:
        frame.end_word()  # it may be `esac`
        if frame.case is Case.PATTERN:
            frame.cases[-1], frame.place = Case.BODY, Place.COMMAND
        elif len(self._stack) > 1:
            self._end_command(frame)
            self._stack.pop()
            if frame.opener == b"(" and not frame.is_list:
                self._commands.place = Place.NOTHING
        self._take(1)

    def _take_to(self, end: int) -> None:
        """Take what is syntax, or a comment; -1: all."""
        self._take((end if end >= 0 else len(self._text)) - self._at)
