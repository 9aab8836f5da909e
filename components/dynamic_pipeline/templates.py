"""Placeholders in the words of a command: compiled once, filled in per record, bytes in and bytes out.

The path forms are GNU parallel's: `{.}` without its extension, `{/}` the last part, `{//}` the folder,
`{/.}` the last part without its extension. A value never becomes shell text here: a word stays one word.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from dynamic_pipeline.errors import UsageError

_TOKEN = re.compile(
    rb"(?P<open>\{\{)|(?P<close>\}\})|\{(?:(?P<own>[#%])|(?P<base>\d+|[^\W\d]\w*|)(?P<form>//|/\.|/|\.|)(?P<q>:q)?)\}"
)
_EXTENSION = re.compile(rb"\.[^/.]*\Z")
_SAFE = re.compile(rb"[A-Za-z0-9_@%+=:,./-]+")
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
_ESCAPED = re.compile(rb"[\x00-\x1f\x7f\\']")
_SHELLS = {b"sh", b"bash", b"dash", b"zsh", b"ksh", b"su"}  # with `-c`, the next word is read by a shell
_REMOTE = {b"ssh", b"eval"}  # every word after it is


class Placeholder(NamedTuple):
    """`{}` and its relatives; `{#}` and `{%}` have no form."""

    text: bytes  # as it was written
    kind: bytes  # b"#" the job's number, b"%" its slot, b"" the record
    form: bytes  # b"", b".", b"/", b"//" or b"/."
    is_quoted: bool  # for one more shell level

    def value(self, record: bytes, number: int, slot: int) -> bytes:
        """What stands in its place."""
        if self.kind:
            return str(number if self.kind == b"#" else slot).encode()
        value = _FORMS[self.form](record)
        return quoted(value) if self.is_quoted else value


_Word = list[bytes | Placeholder]


class CommandTemplate:
    """The words of a command with their placeholders; the record is appended where no word has one.

    `{{` stands for `{`, and a `}}` after it for `}`. Braces that cannot be a placeholder stay as they are:
    `{print $1}`, `{a,b}`, `{"a":{"b":1}}`.

    Raises:
        UsageError: a name or a column that the records do not have.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self._words = [_compile(os.fsencode(word)) for word in words]
        if not any(isinstance(part, Placeholder) for word in self._words for part in word):
            self._words.append(_compile(b"{}"))

    def fill(self, record: bytes, number: int, slot: int) -> list[bytes]:
        """The command for *record*, the job's *number* in the run, on *slot*."""
        return [
            b"".join(part if isinstance(part, bytes) else part.value(record, number, slot) for part in word)
            for word in self._words
        ]

    @property
    def risk(self) -> str:
        """Where a record would be read as code by an inner shell, and the way out; empty when nowhere."""
        names = [
            _last_part(word[0]) if len(word) == 1 and isinstance(word[0], bytes) else b""
            for word in self._words
        ]
        for at, name in enumerate(names):
            inner: Sequence[_Word] = ()
            if name in _SHELLS:
                options = [i for i in range(at + 1, len(names)) if re.fullmatch(rb"-[a-z]*c", names[i])]
                inner = self._words[options[0] + 1 : options[0] + 2] if options else ()
            elif name in _REMOTE:
                inner = self._words[at + 1 :]
            for word in inner:
                for part in word:
                    if isinstance(part, Placeholder) and not part.kind and not part.is_quoted:
                        safe = part.text[:-1] + b":q}"
                        return (
                            f"{os.fsdecode(part.text)} is read as code by {os.fsdecode(name)}; "
                            f"{os.fsdecode(safe)} quotes it"
                        )
        return ""


def quoted(value: bytes) -> bytes:
    """*value* as one word of a POSIX shell."""
    if _SAFE.fullmatch(value):
        return value
    return b"'" + value.replace(b"'", b"'\\''") + b"'"


def display(argv: Sequence[bytes]) -> str:
    """The command on one line, to be copied into bash: it runs with exactly these words."""
    return os.fsdecode(b" ".join(map(_one_line, argv)))


def _one_line(word: bytes) -> bytes:
    if not _CONTROL.search(word):
        return quoted(word)
    return b"$'" + _ESCAPED.sub(_ansi_c, word) + b"'"


def _ansi_c(found: re.Match[bytes]) -> bytes:
    char = found[0]
    return b"\\" + char if char in b"\\'" else b"\\%03o" % char[0]


def _compile(text: bytes) -> _Word:
    word: _Word = []
    at = opened = 0
    for token in _TOKEN.finditer(text):
        literal = text[at : token.start()]
        if token["close"] and not opened:
            literal += b"}}"
        elif token["close"] or token["open"]:
            opened += 1 if token["open"] else -1
            literal += token[0][:1]
        word.append(literal)
        if not (token["open"] or token["close"]):
            word.append(_placeholder(token))
        at = token.end()
    word.append(text[at:])
    joined: _Word = []
    for part in word:
        if isinstance(part, bytes) and joined and isinstance(joined[-1], bytes):
            joined[-1] += part
        elif part:
            joined.append(part)
    return joined or [b""]


def _placeholder(token: re.Match[bytes]) -> Placeholder:
    base = token["base"] or b""
    if base and base != b"1":  # a line is its only column
        text = os.fsdecode(token[0])
        what = "columns of a line: 1" if base.isdigit() else "a line has no named fields"
        raise UsageError(
            f"{text}: there is no such value ({what})", hint=f"write {{{text}}} for the text {text}"
        )
    return Placeholder(token[0], token["own"] or b"", token["form"] or b"", bool(token["q"]))


def _last_part(path: bytes) -> bytes:
    return path[path.rfind(b"/") + 1 :]


def _folder(path: bytes) -> bytes:
    return os.path.dirname(path.rstrip(b"/") or path[:1]) or b"."  # noqa: PTH120 - bytes


def _without_extension(path: bytes) -> bytes:
    return _EXTENSION.sub(b"", path)


_FORMS: dict[bytes, Callable[[bytes], bytes]] = {
    b"": bytes,
    b".": _without_extension,
    b"/": _last_part,
    b"//": _folder,
    b"/.": lambda path: _without_extension(_last_part(path)),
}
