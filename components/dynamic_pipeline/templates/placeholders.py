"""What stands in braces: found in a text once, filled in per record, bytes in and bytes out.

The path forms are GNU parallel's: `{.}` without its extension, `{/}` the last part, `{//}` the folder,
`{/.}` the last part without its extension.
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
from dynamic_pipeline.templates.shell_text import quoted
from dynamic_pipeline.views.escape import escape

_TOKEN = (
    rb"(?P<open>\{\{)|(?P<close>\}\})|\{(?:(?P<own>[#%])|(?P<base>%s\d+|[A-Za-z_\x80-\xff][\w\x80-\xff]*|)"
    rb"(?P<form>//|/\.|/|\.|)(?P<q>:q)?)\}"
)
_EXTENSION = re.compile(rb"\.[^/.]*\Z")

ANY_NAMES = ("",)  # in place of names: a record may have any
NAMES_NO_FIELD = "the command names no field of the records"


class BadRecord(AttemptFailed, PermanentError):
    """The record itself is the reason; another try would fail as well."""


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
            BadRecord: the record has no such field, or one that is no text.
        """
        if self.kind:
            return str(number if self.kind == b"#" else slot).encode()
        if self.field is None:
            raw = record.raw
        else:
            try:
                raw = _as_text((record.fields or {})[self.field])
            except KeyError:
                raise BadRecord(f"bad record: it has no field {self.field!r}") from None
            except UnicodeEncodeError:
                raise BadRecord(f"bad record: its field {self.field!r} holds half of a character") from None
            except RecursionError:
                raise BadRecord(f"bad record: its field {self.field!r} is nested too deeply") from None
        value = _FORMS[self.form](raw)
        return quoted(value) if self.is_quoted else value


Part = bytes | Placeholder  # of a word: text, or what is filled in


class Placeholders:
    """Finds those that records with fields of these *names* can fill.

    Args:
        names: of the fields that every record has, in the order of their columns. Empty: the records are
            lines, which have none. `ANY_NAMES`: a record may have any, and one that lacks it is a bad record.
    """

    def __init__(self, names: Sequence[str]) -> None:
        known = sorted(map(os.fsencode, names), key=len, reverse=True)
        alternatives = b"".join(re.escape(name) + b"|" for name in known if name)
        self._names = names
        self.tokens = re.compile(_TOKEN.replace(b"%s", alternatives, 1))  # also finds `{{` and `}}`

    def parts(self, text: bytes) -> list[Part]:
        """*text* with its placeholders apart; `{{` is `{`, and a `}}` after it `}`.

        Raises:
            UsageError: a name or a column that the records do not have.
        """
        parts: list[Part] = []
        at = opened = 0
        for token in self.tokens.finditer(text):
            literal = text[at : token.start()]
            if token["close"] and not opened:
                literal += b"}}"
            elif token["close"] or token["open"]:
                opened += 1 if token["open"] else -1
                literal += token[0][:1]
            parts.append(literal)
            if not (token["open"] or token["close"]):
                parts.append(self.of(token))
            at = token.end()
        parts.append(text[at:])
        return joined(parts)

    def of(self, token: re.Match[bytes]) -> Placeholder:
        """The placeholder that was found.

        Raises:
            UsageError: a name or a column that the records do not have.
        """
        base = os.fsdecode(token["base"] or b"")
        names = self._names
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


def joined(parts: Sequence[Part]) -> list[Part]:
    """*parts* with neighbouring texts as one; at least one part."""
    found: list[Part] = []
    for part in parts:
        if isinstance(part, bytes) and found and isinstance(found[-1], bytes):
            found[-1] += part
        elif part:
            found.append(part)
    return found or [b""]


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


def _as_text(value: object) -> bytes:
    """The text of a field: strings as they are, other JSON values as JSON, null as nothing.

    Raises:
        UnicodeEncodeError: it holds half of a pair, such as `\\ud800`, which no bytes stand for.
        RecursionError: it is nested more deeply than the stack allows.
    """
    if value is None:
        return b""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "surrogateescape")


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
