"""Placeholders in the words of a command."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from dynamic_pipeline.errors import UsageError
from dynamic_pipeline.records import Record
from dynamic_pipeline.templates import ANY_NAMES, BadRecord, CommandTemplate, display, quoted
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
    return CommandTemplate(words).fill(Record(record, "in", 1), number, slot)


def fill_row(*words: str, names: Sequence[str] = ("id", "file name", "größe"), **fields: Any) -> list[bytes]:
    record = Record(b"the,whole,row", "in", 1, fields=fields)
    return CommandTemplate(words, names).fill(record, 1, 1)


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


ROW = {"id": "7", "file name": "in/a b.txt", "größe": "12"}


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("{id}", b"7"),
        ("{1}", b"7"),
        ("{2/.}", b"a b"),
        ("{file name}", b"in/a b.txt"),
        ("{file name//}", b"in"),
        ("{file name:q}", b"'in/a b.txt'"),
        ("{größe}", b"12"),
        ("{3}", b"12"),
        ("{}", b"the,whole,row"),
        ("{{id}}-{id}", b"{id}-7"),
    ],
)
def test_fields_by_name_and_by_column(word: str, value: bytes) -> None:
    """Whatever the header calls them, with the path forms."""
    assert fill_row(word, **ROW) == [value]


@pytest.mark.parametrize(
    ("word", "text", "hint"),
    [
        ("{idd}", "{idd}: there is no such value (fields: id, file name, größe)", "did you mean {id}?"),
        ("{4}", "{4}: there is no such value (columns: 1 to 3)", "write {{4}} for the text {4}"),
        ("{0}", "{0}: there is no such value (columns: 1 to 3)", "write {{0}} for the text {0}"),
    ],
)
def test_a_field_that_the_header_lacks_is_refused(word: str, text: str, hint: str) -> None:
    """With the names that there are."""
    with pytest.raises(UsageError) as refused:
        fill_row(word, **ROW)
    assert (str(refused.value), refused.value.hint) == (text, hint)


def test_a_command_that_names_no_field_is_refused() -> None:
    """There is no sensible last argument to append."""
    with pytest.raises(UsageError, match="names no field"):
        fill_row("echo", "hello", **ROW)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a b", b"a b"),
        (7, b"7"),
        (1.5, b"1.5"),
        (True, b"true"),
        (None, b""),
        ([1, {"a": "ü"}], '[1,{"a":"ü"}]'.encode()),
    ],
)
def test_json_values_become_text(value: object, text: bytes) -> None:
    """Strings as they are, the others as JSON, null as nothing."""
    assert fill_row("{x}", names=ANY_NAMES, x=value) == [text]


def test_an_object_without_the_field_is_a_bad_record() -> None:
    """It cannot be known before; another try would fail as well."""
    with pytest.raises(BadRecord, match="it has no field 'x'"):
        fill_row("{x}", names=ANY_NAMES, y=1)
    with pytest.raises(UsageError, match="objects have names, not columns"):
        fill_row("{1}", names=ANY_NAMES)


@given(HOSTILE | ANY)
def test_a_quoted_value_is_one_word_for_a_shell(value: bytes) -> None:
    """dash sees exactly the value."""
    line = CommandTemplate(["sh", "-c", "printf %s {:q}"]).fill(Record(value, "in", 1), 1, 1)
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


def nested(levels: int) -> Any:
    value: Any = []
    for _ in range(levels - 1):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("\ud800x", "its field 'x' holds half of a character"),
        ({"\udfff": [1]}, "its field 'x' holds half of a character"),
        (nested(100_000), "its field 'x' is nested too deeply"),
    ],
    ids=["half of a pair", "half of a pair in a key", "nested"],
)
def test_a_field_that_is_no_text_is_a_bad_record(value: object, text: str) -> None:
    """No bytes stand for it: another try would fail as well, and a dry run goes on with the next record."""
    with pytest.raises(BadRecord) as caught:
        fill_row("{x}", names=ANY_NAMES, x=value)

    assert f"bad record: {text}" == str(caught.value)
