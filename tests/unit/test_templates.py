"""Placeholders in the words of a command."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from dynamic_pipeline.errors import UsageError
from dynamic_pipeline.templates import CommandTemplate, display, quoted
from hypothesis import given
from hypothesis import strategies as st

ANY = st.binary(max_size=40).filter(lambda value: b"\0" not in value)
HOSTILE = st.lists(
    st.sampled_from(
        [
            b"'",
            b'"',
            b"`",
            b"$(touch canary)",
            b"\\",
            b"\n",
            b" ",
            b";",
            b"&",
            b"*",
            b"{}",
            b"-",
            b"\xff",
            b"a",
        ]
    )
).map(b"".join)


def fill(*words: str, record: bytes = b"in/photo.raw.jpg", number: int = 7, slot: int = 3) -> list[bytes]:
    return CommandTemplate(words).fill(record, number, slot)


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("{}", b"in/photo.raw.jpg"),
        ("{1}", b"in/photo.raw.jpg"),
        ("{.}", b"in/photo.raw"),
        ("{/}", b"photo.raw.jpg"),
        ("{//}", b"in"),
        ("{/.}", b"photo.raw"),
        ("{1/.}", b"photo.raw"),
        ("{#}", b"7"),
        ("{%}", b"3"),
        ("out/{/.}-{#}.png", b"out/photo.raw-7.png"),
        ("{}{}", b"in/photo.raw.jpgin/photo.raw.jpg"),
    ],
)
def test_each_placeholder_has_its_value(word: str, value: bytes) -> None:
    """Anywhere in a word, as often as one likes."""
    assert fill(word) == [value]


@pytest.mark.parametrize(
    ("record", "without", "last", "folder"),
    [
        (b"a.txt", b"a", b"a.txt", b"."),
        (b"a.d/b", b"a.d/b", b"b", b"a.d"),
        (b"/x", b"/x", b"x", b"/"),
        (b"a/b/", b"a/b/", b"", b"a"),
        (b"/", b"/", b"", b"/"),
        (b"a.tar.gz", b"a.tar", b"a.tar.gz", b"."),
    ],
)
def test_the_path_forms_are_those_of_gnu_parallel(
    record: bytes, without: bytes, last: bytes, folder: bytes
) -> None:
    """A dot in a folder's name is no extension; a path without a folder lies in `.`."""
    assert fill("{.}", "{/}", "{//}", record=record) == [without, last, folder]


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("{print $1}", b"{print $1}"),
        ("{a,b}", b"{a,b}"),
        ('{"a":{"b":1}}', b'{"a":{"b":1}}'),
        ("${HOME:-x}", b"${HOME:-x}"),
        ("{{name}}", b"{name}"),
        ("{{}}", b"{}"),
        ("{{{}}}", b"{x}"),
        ("{", b"{"),
        ("}}", b"}}"),
        ("", b""),
    ],
)
def test_other_braces_stay(word: str, text: bytes) -> None:
    """awk, brace lists and JSON pass as they are; doubled braces are one."""
    assert fill(word, "{}", record=b"x")[0] == text


def test_the_record_is_appended_where_there_is_no_placeholder() -> None:
    """As xargs and GNU parallel do it; also `{#}` is a placeholder."""
    assert fill("echo", "a b", record=b"x") == [b"echo", b"a b", b"x"]
    assert fill("echo", "{#}", record=b"x") == [b"echo", b"7"]


@pytest.mark.parametrize("word", ["{nosuch}", "{2}", "{0}", "{nosuch/}", "{2:q}", "a{url}b"])
def test_a_value_that_no_record_has_is_refused(word: str) -> None:
    """Never an empty text, never left as it stands: think of `rm -rf /{5}`."""
    with pytest.raises(UsageError, match=r"there is no such value") as refused:
        fill(word)
    assert "{{" in refused.value.hint


@pytest.mark.parametrize(
    "words",
    [
        ("sh", "-c", "echo {}"),
        ("env", "/bin/bash", "-ec", "echo {/}"),
        ("ssh", "host", "rm {}"),
        ("su", "me", "-c", "ls {}"),
        ("timeout", "5", "dash", "-c", "x={1}"),
    ],
)
def test_a_record_that_an_inner_shell_would_read_as_code_is_told(words: tuple[str, ...]) -> None:
    """The way out is named."""
    assert ":q} quotes it" in CommandTemplate(words).risk


@pytest.mark.parametrize(
    "words",
    [
        ("sh", "-c", "echo {:q}"),
        ("sh", "-c", 'echo "$1"', "sh", "{}"),
        ("sh", "-c", "echo {#}", "{}"),
        ("echo", "{}"),
        ("sh", "{}"),
    ],
)
def test_what_is_safe_is_not_complained_about(words: tuple[str, ...]) -> None:
    """A word of its own, a quoted value, a number of ours."""
    assert CommandTemplate(words).risk == ""


@given(HOSTILE | ANY)
def test_a_quoted_value_is_one_word_for_a_shell(value: bytes) -> None:
    """dash sees exactly the value."""
    line = CommandTemplate(["sh", "-c", "printf %s {:q}"]).fill(value, 1, 1)
    assert subprocess.run(line, capture_output=True, check=True).stdout == value
    assert quoted(value) == line[2].removeprefix(b"printf %s ")
    assert not Path("canary").exists()


@pytest.mark.skipif(shutil.which("bash") is None, reason="the line is made for bash, which is not installed")
@given(HOSTILE | ANY)
def test_the_display_runs_with_the_same_words(value: bytes) -> None:
    """One line, and bash gives the command the same bytes."""
    line = display([b"printf", b"%s", value])
    assert "\n" not in line
    done = subprocess.run(["bash", "-c", os.fsencode(line)], capture_output=True, check=True)
    assert done.stdout == value
