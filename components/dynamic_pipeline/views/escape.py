"""Text of strangers, made safe to show on one line."""

from __future__ import annotations

_LONGEST = 2000  # characters of one value in one line


def escape(text: str) -> str:
    """*text* with everything that does not print (control, bidi, newline, lone surrogate) written as an escape.

    Job data can then neither begin a line of its own, nor move a cursor, nor turn the reading direction.
    """
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]}… ({len(text) - _LONGEST} more characters)"
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    named = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(char)
    if named:
        return named
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # noqa: PLR2004 - the range of `surrogateescape`: an undecodable byte
        return f"\\x{code - 0xDC00:02x}"
    if code <= 0xFF:  # noqa: PLR2004
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"  # noqa: PLR2004
