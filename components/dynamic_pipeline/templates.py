"""Placeholders in the words of a command: compiled once, filled in per record, bytes in and bytes out.

The path forms are GNU parallel's: `{.}` without its extension, `{/}` the last part, `{//}` the folder,
`{/.}` the last part without its extension. A value never becomes shell text here: a word stays one word.
"""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from dynamic_pipeline.errors import AttemptFailed, PermanentError, UsageError
from dynamic_pipeline.records import Record
from dynamic_pipeline.views.escape import escape

_TOKEN = (
    rb"(?P<open>\{\{)|(?P<close>\}\})|\{(?:(?P<own>[#%])|(?P<base>%s\d+|[A-Za-z_\x80-\xff][\w\x80-\xff]*|)"
    rb"(?P<form>//|/\.|/|\.|)(?P<q>:q)?)\}"
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
    kind: bytes  # b"#" the job's number, b"%" its slot, b"" a value of the record
    field: str | None  # its name; None: the whole record
    form: bytes  # b"", b".", b"/", b"//" or b"/."
    is_quoted: bool  # for one more shell level

    def value(self, record: Record, number: int, slot: int) -> bytes:
        """What stands in its place.

        Raises:
            KeyError: the record has no such field.
        """
        if self.kind:
            return str(number if self.kind == b"#" else slot).encode()
        raw = record.raw if self.field is None else _as_text((record.fields or {})[self.field])
        value = _FORMS[self.form](raw)
        return quoted(value) if self.is_quoted else value


ANY_NAMES = ("",)
_Word = list[bytes | Placeholder]


class BadRecord(AttemptFailed, PermanentError):
    """The record itself is the reason; another try would fail as well."""


class CommandTemplate:
    """The words of a command with their placeholders; the record is appended where no word has one.

    `{{` stands for `{`, and a `}}` after it for `}`. Braces that cannot be a placeholder stay as they are:
    `{print $1}`, `{a,b}`, `{"a":{"b":1}}`.

    Args:
        words: the command and its arguments.
        names: of the fields that every record has, in the order of their columns. Empty: the records are
            lines, which have none. `ANY_NAMES`: a record may have any, and one that lacks it is a bad record.

    Raises:
        UsageError: a name or a column that the records do not have; no placeholder where there are fields.
    """

    def __init__(self, words: Sequence[str], names: Sequence[str] = ()) -> None:
        known = sorted(map(os.fsencode, names), key=len, reverse=True)
        token = re.compile(_TOKEN.replace(b"%s", b"".join(re.escape(name) + b"|" for name in known), 1))
        self._words = [_compile(os.fsencode(word), token, names) for word in words]
        if not any(isinstance(part, Placeholder) for word in self._words for part in word):
            if names:
                raise UsageError(
                    "the command names no field of the records", hint="write {NAME}, or {} for all of it"
                )
            self._words.append(_compile(b"{}", token, names))

    def fill(self, record: Record, number: int, slot: int) -> list[bytes]:
        """The command for *record*, the job's *number* in the run, on *slot*.

        Raises:
            BadRecord: it lacks a field.
        """
        try:
            return self._fill(record, number, slot)
        except KeyError as error:
            raise BadRecord(f"bad record: it has no field {error}") from None

    def _fill(self, record: Record, number: int, slot: int) -> list[bytes]:
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


def _as_text(value: object) -> bytes:
    """The text of a field: strings as they are, other JSON values as JSON, null as nothing."""
    if value is None:
        return b""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "surrogateescape")


def _compile(text: bytes, tokens: re.Pattern[bytes], names: Sequence[str]) -> _Word:
    word: _Word = []
    at = opened = 0
    for token in tokens.finditer(text):
        literal = text[at : token.start()]
        if token["close"] and not opened:
            literal += b"}}"
        elif token["close"] or token["open"]:
            opened += 1 if token["open"] else -1
            literal += token[0][:1]
        word.append(literal)
        if not (token["open"] or token["close"]):
            word.append(_placeholder(token, names))
        at = token.end()
    word.append(text[at:])
    joined: _Word = []
    for part in word:
        if isinstance(part, bytes) and joined and isinstance(joined[-1], bytes):
            joined[-1] += part
        elif part:
            joined.append(part)
    return joined or [b""]


def _placeholder(token: re.Match[bytes], names: Sequence[str]) -> Placeholder:
    base = os.fsdecode(token["base"] or b"")
    field: str | None = base
    if not base or (base == "1" and not names):  # a line is its only column
        field = None
    elif base not in names and base.isdigit() and 0 < int(base) <= len(names) and names is not ANY_NAMES:
        field = names[int(base) - 1]
    elif names is ANY_NAMES and not base.isdigit():
        pass
    elif base not in names:
        raise _no_such_value(os.fsdecode(token[0]), base, names)
    return Placeholder(token[0], token["own"] or b"", field, token["form"] or b"", bool(token["q"]))


def _no_such_value(text: str, base: str, names: Sequence[str]) -> UsageError:
    if names is ANY_NAMES:
        what = "objects have names, not columns"
    elif names:
        what = f"columns: 1 to {len(names)}" if base.isdigit() else "fields: " + ", ".join(names)
    else:
        what = "a line is one column" if base.isdigit() else "a line has no fields"
    near = difflib.get_close_matches(base, [name for name in names if name], 1)
    hint = f"did you mean {{{near[0]}}}?" if near else f"write {{{text}}} for the text {text}"
    return UsageError(f"{escape(text)}: there is no such value ({escape(what)})", hint=hint)


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
