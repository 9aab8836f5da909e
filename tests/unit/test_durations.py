"""Durations: Go's notation in, seconds out, and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pipeline_config import DurationError, format_duration, parse_duration
from pipeline_config.durations import LONGEST_S


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0s", 0.0),
        ("250us", 0.00025),
        ("250\u00b5s", 0.00025),
        ("250\u03bcs", 0.00025),
        ("250ms", 0.25),
        ("5ms", 0.005),
        ("1s", 1.0),
        ("1.5s", 1.5),
        ("5m", 300.0),
        ("1m30s", 90.0),
        ("1h", 3600.0),
        ("1h0m0.5s", 3600.5),
        ("1s500ms", 1.5),
        ("87600h", LONGEST_S),
    ],
)
def test_a_duration_is_read_as_seconds(text: str, seconds: float) -> None:
    """Every unit, decimals and descending combinations are read exactly."""
    assert seconds == parse_duration(text)


NO_DURATIONS = (
    "s|1x|1 s| 1s|1s |1s\n|-1s|+1s|1m-30s|30s1m|1s1s|1.s|.5s|1d|1ns|1S|1e3s|1_0s|\u0661s|1h 30m|1:30|nan|ms5"
)


@pytest.mark.parametrize("text", ["", *NO_DURATIONS.split("|")])
def test_what_is_no_duration_is_refused_with_examples(text: str) -> None:
    """A text outside the grammar is refused, and the message shows how to write one."""
    with pytest.raises(
        DurationError, match="write a number and a unit, for example 1s, 500ms or 1m30s"
    ) as caught:
        parse_duration(text)

    assert "is not a duration" == caught.value.verdict


@pytest.mark.parametrize("text", ["0", "5", "1.5"])
def test_a_bare_number_is_asked_for_its_unit(text: str) -> None:
    """A number alone is refused with the two units it is likely to be in."""
    with pytest.raises(DurationError) as caught:
        parse_duration(text)

    assert ("needs a unit", f"{text}s or {text}ms?") == (caught.value.verdict, caught.value.hint)


@pytest.mark.parametrize("text", ["87600h1us", "99999999h", "9" * 400 + "h", "9" * 5000 + "s"])
def test_more_than_ten_years_is_refused(text: str) -> None:
    """A duration that a wait could not take, or that no float holds, is refused."""
    with pytest.raises(DurationError, match="is too long: at most 87600h"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["0.1us", "0.0000001s"])
def test_a_duration_that_would_round_to_nothing_is_refused(text: str) -> None:
    """Less than a microsecond is refused, for it would silently become no time at all."""
    with pytest.raises(DurationError, match="the shortest is 1us"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0s"),
        (0.00025, "250us"),
        (0.0015, "1.5ms"),
        (0.25, "250ms"),
        (1.0, "1s"),
        (1.05, "1.05s"),
        (12.345678, "12.345678s"),
        (90.0, "1m30s"),
        (3600.0, "1h"),
        (3600.5, "1h0.5s"),
        (0.9999999, "1s"),
    ],
)
def test_seconds_are_written_in_the_same_notation(seconds: float, text: str) -> None:
    """Seconds are written with the largest units that fit, parts of zero left out, and microseconds kept."""
    assert text == format_duration(seconds)


def test_negative_seconds_are_not_written() -> None:
    """There is no text for a negative duration."""
    with pytest.raises(ValueError, match="cannot be negative"):
        format_duration(-1.0)


@given(st.integers(min_value=0, max_value=round(LONGEST_S * 1_000_000)))
def test_what_is_written_reads_back_the_same(microseconds: int) -> None:
    """Any duration of whole microseconds up to ten years survives the way to text and back exactly."""
    seconds = microseconds / 1_000_000

    assert seconds == parse_duration(format_duration(seconds))


@given(st.text(alphabet="0123456789.hmsun\u00b5 -+\n"))
def test_any_text_is_a_duration_or_a_duration_error(text: str) -> None:
    """Parsing gives seconds within the limits or raises DurationError, never something else."""
    try:
        seconds = parse_duration(text)
    except DurationError:
        return

    assert 0 <= seconds <= LONGEST_S
