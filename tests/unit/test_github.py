"""What GitHub Actions is told: bounded, and nothing of it is taken for anything else."""

from __future__ import annotations

import re
from typing import Any

from dynamic_pipeline.events import JobFailed
from dynamic_pipeline.reports import CommandTail
from dynamic_pipeline.summary import Summary
from dynamic_pipeline.views.github import MOST_BYTES, annotation_lines, step_summary

from tests.ended import failed, job

HOSTILE = "a\n::error::x\r%0A,:|`<script>alert(1)</script>*_[x](y)\x1b[31m"


def summary(*failures: JobFailed, count: int | None = None, **others: Any) -> Summary:
    number = len(failures) if count is None else count
    known = {"accepted": number, "succeeded": 0, "unfinished": 0, "retries": 0, "is_source_complete": True}
    return Summary(
        **{**known, **others},
        failed=number,
        failures=tuple(failures),
        exit_code=1,
        error=None,
        is_abandoned=False,
        is_mute=False,
    )


def test_a_failure_is_an_annotation_on_its_line_of_the_input() -> None:
    """The file, the line, and what went wrong."""
    assert ["::error file=in.txt,line=18,title=job 17 failed::exit 3: in/a"] == list(
        annotation_lines(summary(failed("exit 3")))
    )


def test_there_are_ten_at_the_most_and_the_last_tells_of_the_others() -> None:
    """As many as GitHub shows for a step."""
    lines = list(annotation_lines(summary(*[failed("exit 3", job(n)) for n in range(1, 12)], count=46)))

    assert 10 == len(lines)
    assert "::error title=more jobs failed::… and 37 more" == lines[-1]
    assert 10 == len(list(annotation_lines(summary(*[failed("exit 3", job(n)) for n in range(1, 11)]))))


def test_hostile_text_begins_no_command_of_its_own() -> None:
    """One line each, with the signs of the format written as its escapes."""
    (line,) = annotation_lines(summary(failed(HOSTILE, job(1, HOSTILE.encode()))))

    assert line.startswith("::error file=in.txt,line=2,title=job 1 failed::")
    assert "\n" not in line
    assert "\r" not in line
    assert "%250A" in line
    assert not re.search(r"[\x00-\x1f]", line)


def test_the_summary_of_the_step_is_a_table() -> None:
    """Counts, the failures, the end of what they wrote, and how to run them again."""
    failure = failed("exit 3", job(17, b"in/a"), CommandTail(b"first\nno such file\n"))
    text = step_summary(summary(failure, succeeded=5, retries=2), 1, 12.3, ["run them again: x"])

    assert "## dynamic-pipeline: ❌ exit 1" in text
    assert "| 5 | 1 | 0 | 2 | 12.3s |" in text
    assert "| 17 | <code>in/a</code> | <code>exit 3</code> | 1 |" in text
    assert "no such file" in text
    assert "<code>run them again: x</code>" in text


def test_hostile_text_stays_text_in_the_summary() -> None:
    """Neither Markdown nor HTML, nor another column."""
    text = step_summary(
        summary(failed(HOSTILE, job(1, HOSTILE.encode()), CommandTail(HOSTILE.encode()))), 1, 1.0, []
    )

    assert "<script>" not in text
    assert "[x](y)" not in text
    (row,) = [line for line in text.splitlines() if line.startswith("| 1 |")]
    assert 5 == row.count("|")


def test_the_summary_is_never_too_long() -> None:
    """GitHub drops a longer one as a whole. What was left out is told."""
    failures = [failed("é" * 900, job(n, b"x" * 800), CommandTail(b"y" * 4096)) for n in range(1, 1001)]
    text = step_summary(summary(*failures, count=5000), 1, 1.0, ["z" * 10**6])

    assert len(text.encode()) <= MOST_BYTES
    assert "… and 4900 more" in text
