"""Configuration files: what is refused, where the message points, and what it says."""

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from pipeline_config import ConfigError, load
from pipeline_config.problems import Problem

Write = Callable[[str | bytes], None]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes site.yml into the current folder."""
    monkeypatch.chdir(tmp_path)

    def write(content: str | bytes) -> None:
        content = textwrap.dedent(content).encode() if isinstance(content, str) else content
        Path("site.yml").write_bytes(content)

    return write


def complaint() -> str:
    with pytest.raises(ConfigError) as caught:
        load("site.yml", environ={})
    return str(caught.value)


def where(problem: Problem) -> str:
    assert problem.place
    return f"{problem.place.line}:{problem.place.column}"


def test_every_mistake_is_reported_in_one_go(site: Write) -> None:
    """All problems come at once, in the order of the file, each with its line, a caret and a way out."""
    site("""\
        # one site

        pipeline:
          max_workers: eight
          grow_treshold: 50

          check_interval: 1x
        """)

    assert complaint() == textwrap.dedent("""\
        site.yml:4:16: error: pipeline.max_workers must be a whole number, got "eight"
            4 |   max_workers: eight
              |                ^^^^^
        site.yml:5:3: error: unknown key pipeline.grow_treshold
            5 |   grow_treshold: 50
              |   ^^^^^^^^^^^^^
          hint: did you mean grow_threshold?
        site.yml:7:19: error: pipeline.check_interval: "1x" is not a duration
            7 |   check_interval: 1x
              |                   ^^
          hint: write a number and a unit, for example 1s, 500ms or 1m30s
        pipeline: 3 problems in site.yml, nothing was run (exit 2)
          hint: python pipeline.py config schema > pipeline.schema.json gives your editor completion""")


@pytest.mark.parametrize(
    ("content", "place", "text", "hint"),
    [
        ("pipelin:\n  max_workers: 3\n", "1:1", "unknown section pipelin", "did you mean pipeline?"),
        ("max_workers: 3\n", "1:1", "unknown section max_workers", "did you mean pipeline.max_workers?"),
        ("log:\n  drain: all\n", "2:3", "unknown key log.drain", "did you mean shutdown.drain?"),
        ("log: {xyz: 1}\n", "1:7", "unknown key log.xyz", None),
        ("log: text\n", "1:6", 'section log must be a mapping, got "text"', "write key: value, a line each"),
        ("- log\n", "1:1", "a configuration must be a mapping, got a list", "write key: value, a line each"),
        ("log: {on: 1}\n", "1:7", "a key must be text, got on", 'quote it if it is meant as text: "on"'),
        ("1: 1\n", "1:1", "a key must be text, got 1", 'quote it if it is meant as text: "1"'),
        ("~: 1\n", "1:1", "a key must be text, got ~", 'quote it if it is meant as text: "~"'),
        ("? [log]\n: 1\n", "1:3", "a key must be text, got a list", None),
        ("log: {}\nlog: {}\n", "2:1", "duplicate key log", "line 1 has it too"),
        ("log:\n  format: text\n  format: text\n", "3:3", "duplicate key log.format", "line 2 has it too"),
        ("log: &a {}\n", "1:6", "anchors are not supported", "remove &a"),
        ("log: *a\n", "1:6", "aliases are not supported", "write the value again"),
        ("log: {<<: {}}\n", "1:7", "merge keys are not supported", "write the settings again"),
        ("log: !!map {}\n", "1:6", "tags are not supported", "remove it: the key says what the value is"),
        (
            "log: {}\n---\nlog: {}\n",
            "2:1",
            "a second document starts here",
            "a configuration is one document",
        ),
        (
            "log:\n\tformat: text\n",
            "2:1",
            r"not valid YAML: found character '\t' that cannot start any token",
            "indent with blanks, not tabs",
        ),
        ("log: {format: text\n", "2:1", "not valid YAML: expected ',' or '}', but got '<stream end>'", None),
        ("log: 'a\n", "2:1", "not valid YAML: found unexpected end of stream", None),
        ("log:\n  a\x1bb: 1\n", "2:4", r"not valid YAML: the character \x1b is not allowed", None),
        ('log: "\\UFFFFFFFF"\n', "1:9", "not valid YAML: a number is out of range", None),
    ],
)
def test_what_is_not_a_plain_configuration_is_refused_at_its_place(
    site: Write, content: str, place: str, text: str, hint: str | None
) -> None:
    """Wrong structure, doubtful YAML and syntax errors are one problem each, at the place where they are."""
    site(content.encode())

    with pytest.raises(ConfigError) as caught:
        load("site.yml", environ={})
    [problem] = caught.value.problems
    assert (place, text, hint) == (where(problem), problem.text, problem.hint)


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"# nothing\n", b"---\n", b"null\n", b"{}\n", b"\xef\xbb\xbf", b"log:\nload:\n"]
)
def test_a_file_without_settings_changes_nothing(site: Write, content: bytes) -> None:
    """Empty files, comments, a byte order mark and empty sections leave the defaults in force."""
    site(content)

    assert load(environ={}).settings == load("site.yml", environ={}).settings


def test_a_byte_order_mark_does_not_shift_columns(site: Write) -> None:
    """The place of a problem in the first line is counted and shown without the byte order mark."""
    site(b"\xef\xbb\xbflogg: {}\n")

    assert complaint().startswith(
        "site.yml:1:1: error: unknown section logg\n    1 | logg: {}\n      | ^^^^\n"
    )


def test_carets_stand_below_what_they_mark_whatever_is_before_it(site: Write) -> None:
    """Tabs, wide letters and invisible characters before the place do not move the carets off it."""
    site('"\u202e日本": {}\nlog: {"日\t\u200b": x, formt: 1}\n'.encode())

    lines = complaint().splitlines()
    assert ['    1 | "\\u202e日本": {}', "      | ^^^^^^^^^^^^"] == lines[1:3]
    assert ['    2 | log: {"日 \\u200b": x, formt: 1}', "      |       ^^^^^^^^^^^"] == lines[4:6]
    assert "      |                       ^^^^^" == lines[8]


def test_a_long_line_is_shown_around_the_place(site: Write) -> None:
    """A mistake far to the right of a very long line is shown in a part of it, the caret below."""
    site("log: {" + " " * 5000 + "formt: text" + " " * 5000 + "}")

    source, carets = complaint().splitlines()[1:3]
    assert len(source) < 120
    assert source.index("formt") == carets.index("^^^^^")


@pytest.mark.parametrize("opening", ["[", "{", "- ", "? ", "{a: "])
def test_absurd_nesting_is_a_problem_and_not_a_crash(site: Write, opening: str) -> None:
    """A hundred thousand levels of nesting are refused at once."""
    site(opening * 100_000)

    assert "error: nested too deeply\n" in complaint()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"log:\n  format: te\xe4xt\n", "is not UTF-8: byte 0xe4 in line 2"),
        (b"#" * ((1 << 20) + 1), "is larger than 1 MiB, and so no configuration"),
    ],
)
def test_a_file_that_is_no_configuration_is_one_clear_line(site: Write, content: bytes, reason: str) -> None:
    """Foreign encodings and huge files are named for what they are, without place and schema hint."""
    site(content)

    assert (
        f"site.yml: error: {reason}\npipeline: 1 problem in site.yml, nothing was run (exit 2)" == complaint()
    )


@pytest.mark.parametrize(
    ("path", "shown", "reason"),
    [
        ("missing.yml", "missing.yml", "no such file"),
        (".", ".", "is a directory, not a file"),
        ("a\0b", r"a\x00b", "embedded null byte"),
        ("a\x1b[2Jb", r"a\x1b[2Jb", "no such file"),
        ("x" * 5000, "x" * 5000, "cannot be read: File name too long"),
        ("site.yml/x", "site.yml/x", "cannot be read: Not a directory"),
    ],
)
def test_a_path_that_cannot_be_read_is_one_clear_line(
    site: Write, path: str, shown: str, reason: str
) -> None:
    """Whatever is wrong with the path, it is one problem that names it."""
    site("")

    with pytest.raises(ConfigError) as caught:
        load(path, environ={})
    assert f"{shown}: error: {reason}" == str(caught.value).splitlines()[0]
