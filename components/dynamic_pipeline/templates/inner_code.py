"""Where a value would be read as code again: by a shell or a language inside the command."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from dynamic_pipeline.templates.placeholders import Part, Placeholder
from dynamic_pipeline.views.escape import escape

_Word = Sequence[Part]

# With `-c`, also among other letters, the next word is read by a shell; wherever in the command the name stands.
_SHELLS = {b"sh", b"bash", b"dash", b"ash", b"zsh", b"ksh", b"su", b"runuser", b"script", b"flock"}
_REMOTE = {b"ssh", b"eval", b"watch", b"trap"}  # every word after it is
# Languages: the option after which code stands, before the name of a script.
_LANGUAGES = {
    rb"(?:python|pypy)[\d.]*": (rb"-[A-Za-z]*c", rb"-c"),
    rb"perl[\d.]*": (rb"-[A-Za-z0-9]*[eE]", rb"-[eE]"),
    rb"ruby[\d.]*": (rb"-[A-Za-z]*e", rb"-e"),
    rb"(?:node|nodejs|deno|bun)": (rb"-[a-z]*[ep]|--eval|--print", rb"--eval="),
    rb"php[\d.]*": (rb"-r", rb"-r"),
    rb"lua[\d.]*": (rb"-e", rb"-e"),
}
_WITH_VALUE = {b"-W", b"-X", b"-I", b"-r", b"-C", b"-d"}  # an option whose next word is no script
_PROGRAMS = {  # the first word that is no option is a program; those options have a value of their own
    rb"[gmn]?awk": ({b"-F", b"-v"}, {b"-e", b"--source"}),
    rb"g?sed": ({b"-l"}, {b"-e", b"--expression"}),
}
# Commands that start another one. Elsewhere `awk` and `sed` are taken for what they are to `man` or `cp`: a name.
_STARTERS = {
    *(b"env", b"sudo", b"doas", b"xargs", b"timeout", b"nice", b"ionice", b"nohup", b"setsid", b"exec"),
    *(b"command", b"builtin", b"time", b"stdbuf", b"find", b"chroot", b"busybox", b"docker", b"podman"),
}


_ARITHMETIC = {b"-eq", b"-ne", b"-lt", b"-le", b"-gt", b"-ge", b"-v"}  # between `[[` and `]]` of bash
_NAMING = {  # they take names of variables, and a name such as a[$( )] is evaluated by bash
    *(b"read", b"unset", b"declare", b"typeset", b"local", b"readonly", b"export", b"mapfile", b"readarray"),
    b"getopts",
}

_WITH_Q = "%s quotes it"
_AS_ARGUMENT = "pass it as an argument or in a variable instead"
_AS_NAME = "write the name of the variable yourself"
AS_NUMBER = "[ ] and expr take it as a plain number"


class _Inner(NamedTuple):
    name: bytes
    words: Sequence[_Word]  # that it reads as code
    way_out: str


def risk_of(commands: Sequence[Sequence[_Word]]) -> str:
    """The first value that is read as code, and the way out; empty when there is none."""
    for command in commands:
        for inner in _inner_code(command):
            for part in (part for word in inner.words for part in word):
                if not isinstance(part, Placeholder) or part.kind:
                    continue
                if not (part.is_quoted and inner.way_out is _WITH_Q):
                    text, name = os.fsdecode(part.text), os.fsdecode(inner.name)
                    way_out = inner.way_out.replace("%s", f"{text[:-1]}:q}}")
                    return escape(f"{text} is read as code by {name}; {way_out}")
    return ""


def _inner_code(words: Sequence[_Word]) -> Iterator[_Inner]:
    texts = [_beginning(word) if len(word) == 1 else b"" for word in words]
    names = [text[text.rfind(b"/") + 1 :] for text in texts]
    yield from _of_bash(words, texts)
    for at, name in enumerate(names):
        if name in _SHELLS:
            options = [i for i in range(at + 1, len(texts)) if re.fullmatch(rb"-[a-z]*c", texts[i])]
            yield _Inner(name, words[options[0] + 1 : options[0] + 2] if options else (), _WITH_Q)
            yield _Inner(name, [w for w in words[at:] if _beginning(w).startswith(b"--command=")], _WITH_Q)
        elif name in _REMOTE:
            yield _Inner(name, words[at + 1 :], _WITH_Q)
        for pattern, (option, glued) in _LANGUAGES.items():
            if re.fullmatch(pattern, name):
                yield _Inner(name, _after_option(words[at + 1 :], option, glued), _AS_ARGUMENT)
        for pattern, (with_value, with_code) in _PROGRAMS.items():
            if re.fullmatch(pattern, name) and (at == 0 or names[0] in _STARTERS):
                yield _Inner(name, _program(words[at + 1 :], with_value, with_code), _AS_ARGUMENT)


def _of_bash(words: Sequence[_Word], texts: Sequence[bytes]) -> Iterator[_Inner]:
    """Its own commands that evaluate numbers or names of variables."""
    name = texts[0]
    if name == b"let" or (name == b"[[" and not _ARITHMETIC.isdisjoint(texts)):
        yield _Inner(name, words[1:], AS_NUMBER)
    elif name in _NAMING:
        yield _Inner(name, [word for word in words[1:] if b"=" not in _beginning(word)], _AS_NAME)
    elif name in {b"printf", b"test", b"["}:
        options = [i for i, text in enumerate(texts[:-1]) if text == b"-v"]
        yield _Inner(name, [words[i + 1] for i in options], _AS_NAME)


def _after_option(words: Sequence[_Word], option: bytes, glued: bytes) -> Sequence[_Word]:
    """The code after *option*, or in the same word; a script's own options are no business of ours."""
    at = 0
    while at < len(words):
        text, is_whole = _beginning(words[at]), len(words[at]) == 1
        if is_whole and re.fullmatch(option, text):
            return words[at + 1 : at + 2]
        if re.match(glued, text):
            return words[at : at + 1]
        if not text.startswith(b"-") or text == b"-m":
            return ()
        at += 2 if is_whole and text in _WITH_VALUE else 1
    return ()


def _program(words: Sequence[_Word], with_value: set[bytes], with_code: set[bytes]) -> Sequence[_Word]:
    """The text of the program: after an option for it, else the first word that is no option."""
    code: list[_Word] = []
    has_program = False
    at = 0
    while at < len(words):
        text, is_whole = _beginning(words[at]), len(words[at]) == 1
        if is_whole and text in with_value:
            at += 1
        elif is_whole and text in {b"-f", b"--file", *with_code}:
            code += words[at + 1 : at + 2] if text in with_code else ()
            has_program = True
            at += 1
        elif text.startswith(tuple(with_code)):
            code.append(words[at])
            has_program = True
        elif len(text) < 2 or not text.startswith(b"-"):  # noqa: PLR2004 - `-` alone is a file
            return code if has_program else words[at : at + 1]
        at += 1
    return code


def _beginning(word: _Word) -> bytes:
    """Its text up to the first value."""
    return word[0] if isinstance(word[0], bytes) else b""
