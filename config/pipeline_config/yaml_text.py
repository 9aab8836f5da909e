"""A strict reader for the part of YAML that a configuration needs: mappings, lists and scalars of one document.

It works on PyYAML's events and keeps every scalar as text. PyYAML's own idea of types (YAML 1.1, where `on` is
true and `010` is eight) never comes in, and neither do anchors, tags and what they make possible.
"""

import re
from dataclasses import dataclass
from typing import Any

import yaml

from pipeline_config.problems import Layer, Place, Problem, printable, shortened

_DEEPEST = 16
_LINE_END = re.compile("\r\n|[\r\n\x85\u2028\u2029]")  # PyYAML's; the carets must agree with its line numbers


@dataclass(frozen=True)
class Scalar:
    """A text. It is *plain* when no quotes say that text is all it is. No place: not from a file."""

    text: str
    is_plain: bool
    place: Place | None = None


@dataclass(frozen=True)
class Block:
    """A mapping, with its items in the order of the file; keys may repeat."""

    items: tuple[tuple["Node", "Node"], ...]
    place: Place


@dataclass(frozen=True)
class Listing:
    """A list. No setting is one, so what it holds is not kept."""

    place: Place


@dataclass(frozen=True)
class Refused:
    """Something about which the reader has reported a problem already."""

    place: Place


Node = Scalar | Block | Listing | Refused


def read_yaml(text: str, file: str, layer: Layer) -> tuple[Node | None, list[Problem]]:
    """The one document in *text*, None if there is nothing in it, and what is wrong with it.

    After a syntax error the document is None: what came before it may not be what it seems. Never raises.
    """
    lines = _LINE_END.split(text)
    try:
        reader = _Reader(text, lines)
    except yaml.reader.ReaderError as error:
        before = _LINE_END.split(text[: error.position])
        place = _place(lines, len(before) - 1, len(before[-1]))
        problem = f"not valid YAML: the character {printable(chr(int(error.character)))} is not allowed"
        return None, [Problem(layer, problem, None, file, place)]
    try:
        node = reader.document()
    except _FatalError as fatal:
        node, reader.problems = None, [fatal.found]
    return node, [Problem(layer, text, hint, file, place) for place, text, hint in reader.problems]


_Found = tuple[Place, str, str | None]


class _FatalError(Exception):
    def __init__(self, place: Place, text: str, hint: str | None = None) -> None:
        super().__init__(text)
        self.found: _Found = (place, text, hint)


class _Reader:
    problems: list[_Found]

    def __init__(self, text: str, lines: list[str]) -> None:
        self.problems = []
        self._lines = lines
        self._events = yaml.SafeLoader(text)

    def document(self) -> Node | None:
        self._next()
        if isinstance(self._next(), yaml.StreamEndEvent):
            return None
        node = self._node(self._next(), depth=0)
        self._next()
        after = self._next()
        if not isinstance(after, yaml.StreamEndEvent):
            raise _FatalError(
                self._span(after), "a second document starts here", "a configuration is one document"
            )
        return node

    def _next(self) -> Any:
        try:
            return self._events.get_event()  # type: ignore[no-untyped-call]
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            text, line, column = error.problem or "", mark.line if mark else 0, mark.column if mark else 0
        except (ValueError, OverflowError):
            # PyYAML trusts \U escapes and version numbers to be of a sensible size.
            text, line, column = "a number is out of range", self._events.line, self._events.column
        hint = "indent with blanks, not tabs" if r"'\t'" in text else None
        place = _place(self._lines, line, column)
        raise _FatalError(place, f"not valid YAML: {shortened(printable(text), 120)}", hint)

    def _node(self, event: Any, depth: int) -> Node:
        place = self._span(event)
        if depth > _DEEPEST:
            raise _FatalError(place, "nested too deeply", "settings are two levels deep: section, key")
        if isinstance(event, yaml.AliasEvent):
            self.problems.append((place, "aliases are not supported", "write the value again"))
            return Refused(place)
        if event.anchor is not None:
            self.problems.append((place, "anchors are not supported", f"remove &{shortened(event.anchor)}"))
        if event.tag is not None:
            self.problems.append(
                (place, "tags are not supported", "remove it: the key says what the value is")
            )
        content = self._content(event, place, depth)
        return content if event.tag is None else Refused(place)

    def _content(self, event: Any, place: Place, depth: int) -> Node:
        if isinstance(event, yaml.ScalarEvent):
            return Scalar(event.value, event.style is None, place)
        if isinstance(event, yaml.SequenceStartEvent):
            while not isinstance(item := self._next(), yaml.SequenceEndEvent):
                self._node(item, depth + 1)
            return Listing(place)
        items: list[tuple[Node, Node]] = []
        while not isinstance(item := self._next(), yaml.MappingEndEvent):
            items.append((self._node(item, depth + 1), self._node(self._next(), depth + 1)))
        return Block(tuple(items), place)

    def _span(self, event: Any) -> Place:
        start, end = event.start_mark, event.end_mark
        # Past the first line there is nothing left to underline, however long the value goes on.
        width = end.column - start.column if end.line == start.line else len(self._lines[start.line])
        return _place(self._lines, start.line, start.column, width)


def _place(lines: list[str], line: int, column: int, width: int = 1) -> Place:
    source = lines[min(line, len(lines) - 1)]
    return Place(line + 1, column + 1, max(1, min(width, len(source) - column)), source)
