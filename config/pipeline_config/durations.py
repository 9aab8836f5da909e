"""Durations as Go writes them, for example `250ms`, `1m30s` or `1h`."""

import re

import durationpy

_NUMBER = r"[0-9]+(\.[0-9]+)?"

DURATION_PATTERN = (
    rf"^(?=[0-9])({_NUMBER}h)?({_NUMBER}m)?({_NUMBER}s)?({_NUMBER}ms)?({_NUMBER}(us|\u00b5s|\u03bcs))?$"
)
"""What a duration looks like: each unit at most once, the larger first. Plain enough for JSON Schema."""

LONGEST_S = 87_600 * 3600.0
"""Ten years, in seconds. Waiting on a lock overflows not far above; who means "for ever" writes null."""

NOT_A_DURATION = "is not a duration"

_DURATION = re.compile(DURATION_PATTERN)
_UNITS_US = {"h": 3_600_000_000, "m": 60_000_000, "s": 1_000_000, "ms": 1000, "us": 1}
_EXAMPLES = "write a number and a unit, for example 1s, 500ms or 1m30s"


class DurationError(ValueError):
    """A text that is no duration.

    *verdict* says so with the text as its subject ("is not a duration"), *hint* is the way out.
    """

    def __init__(self, text: str, verdict: str, hint: str) -> None:
        super().__init__(f"{text!r} {verdict}: {hint}")
        self.verdict = verdict
        self.hint = hint


def parse_duration(text: str) -> float:
    """The seconds that *text* stands for, exact to the microsecond.

    Units are h, m, s, ms and us (or µs); decimals are allowed, signs and blanks are not.
    Raises DurationError for everything else, for less than 1us that is not 0, and beyond ten years.
    """
    # The pattern goes first: durationpy alone skips blanks and signs between parts, and takes days to years.
    if not _DURATION.fullmatch(text):
        raise _not_a_duration(text)
    try:
        seconds = durationpy.from_str(text).total_seconds()
    except durationpy.DurationError:
        seconds = float("inf")
    if seconds > LONGEST_S:
        raise DurationError(text, "is too long", f"at most {format_duration(LONGEST_S)}")
    if seconds == 0 and re.search("[1-9]", text):
        raise DurationError(text, "is too short", "the shortest is 1us")
    return seconds


def format_duration(seconds: float) -> str:
    """*seconds* as text that `parse_duration` reads back, rounded to the microsecond: 90.0 gives `1m30s`.

    Below one second there is one unit, with decimals (`1.5ms`). Raises ValueError if *seconds* is negative.
    """
    if seconds < 0:
        raise ValueError(f"a duration cannot be negative: {seconds}")
    # durationpy.to_str would do, but it cuts seconds to six digits: 12.345678 comes back as 12.3457.
    left_us = round(seconds * _UNITS_US["s"])
    if left_us < _UNITS_US["s"]:
        unit = "us" if 0 < left_us < _UNITS_US["ms"] else "ms" if left_us else "s"
        return _decimal(left_us, unit)
    text = ""
    for unit in ("h", "m"):
        count, left_us = divmod(left_us, _UNITS_US[unit])
        text += f"{count}{unit}" if count else ""
    return text + (_decimal(left_us, "s") if left_us else "")


def _decimal(amount_us: int, unit: str) -> str:
    whole, rest = divmod(amount_us, _UNITS_US[unit])
    places = len(str(_UNITS_US[unit])) - 1
    digits = str(rest).rjust(places, "0").rstrip("0")
    return f"{whole}.{digits}{unit}" if digits else f"{whole}{unit}"


def _not_a_duration(text: str) -> DurationError:
    # Seconds without their unit are the usual slip; a guess would often be wrong by a factor of 1000.
    if re.fullmatch(_NUMBER, text):
        return DurationError(text, "needs a unit", f"{text}s or {text}ms?")
    return DurationError(text, NOT_A_DURATION, _EXAMPLES)
