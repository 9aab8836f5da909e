"""Text of strangers, made safe to show on one line."""

import pytest
from dynamic_pipeline.views.escape import escape
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text, 日本 ✓", "plain text, 日本 ✓"),
        ("", ""),
        ("a\nb\r\tc", r"a\nb\r\tc"),
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("\x00\x07\x7f\x9b", r"\x00\x07\x7f\x9b"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("\u2028\u2029\x85", r"\u2028\u2029\x85"),
        ("\u200b\ufeff", r"\u200b\ufeff"),
        ("\U000e0041", r"\U000e0041"),
        (b"\xff\xfe".decode("utf-8", "surrogateescape"), r"\xff\xfe"),
        ("\ud800", r"\ud800"),
        ('{"a": 1} </red> %s', '{"a": 1} </red> %s'),
        (r"back\slash", r"back\slash"),
    ],
)
def test_what_does_not_print_is_written_as_an_escape(text: str, shown: str) -> None:
    """Control, bidi, newline, zero-width and undecodable characters; the rest is left as it is."""
    assert shown == escape(text)


@given(st.text(st.characters(), max_size=50))
def test_the_result_prints_on_one_line_in_any_text(text: str) -> None:
    """Lone surrogates included, nothing is left that moves a cursor or begins a line; UTF-8 can carry it."""
    shown = escape(text)

    assert shown.isprintable()
    assert len(shown.splitlines()) <= 1
    assert shown == shown.encode().decode()


@given(st.binary(max_size=50))
def test_any_bytes_of_a_record_can_be_shown(raw: bytes) -> None:
    """Bytes that are no UTF-8 are shown as such."""
    assert escape(raw.decode("utf-8", "surrogateescape")).isprintable()


@pytest.mark.parametrize(
    ("text", "tail"),
    [
        ("x" * 2000, "x" * 10),
        ("x" * 2001, "x… (1 more characters)"),
        ("x" * 1_000_000, "x… (998000 more characters)"),
    ],
)
def test_a_long_text_is_cut_and_says_so(text: str, tail: str) -> None:
    """2000 characters are shown, and the number of the others."""
    shown = escape(text)

    assert shown.endswith(tail)
    assert 2000 == shown.count("x")
