"""JUnit XML, as CI systems read it: a test case per job."""

from __future__ import annotations

from datetime import datetime

from dynamic_pipeline.attempts import Failed, Outcome
from dynamic_pipeline.jobs import Job
from dynamic_pipeline.records import Record
from dynamic_pipeline.reports import TAIL_BYTES, CallTrace, CommandReport
from dynamic_pipeline.views.endings import ending, tail_lines
from dynamic_pipeline.views.escape import escape

HEAD_BYTES = 360  # what `suite_head` fills
TAIL = b"</testsuite>\n"
_NAME = "dynamic-pipeline"
_MARKUP = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"})


def suite_head(
    *, tests: int, failures: int, errors: int, skipped: int, started: datetime, elapsed_s: float
) -> bytes:
    """The first lines, blank-filled to a fixed size: their numbers are known last."""
    text = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<testsuite name="{_NAME}" tests="{tests}" failures="{failures}" '
        f'errors="{errors}" skipped="{skipped}" time="{elapsed_s:.3f}" timestamp="{started:%Y-%m-%dT%H:%M:%S}"'
    )
    return (text.ljust(HEAD_BYTES - 2) + ">\n").encode()


def job_case(job: Job, outcome: Outcome | None, *, is_skipped: bool = False) -> bytes:
    """One job: the input is its class, the record its name.

    Escaped text holds nothing that XML 1.0 forbids: what does not print is written as `\\x..`.
    """
    record: Record = job.payload
    elapsed_s = 0.0 if outcome is None else outcome.elapsed_s
    head = f'<testcase classname="{_text(record.source)}" name="{_text(record.text)}" time="{elapsed_s:.3f}"'
    if is_skipped:
        why = "not run" if outcome is None else "interrupted"
        return f'{head}><skipped message="{why}"/></testcase>\n'.encode()
    if not isinstance(outcome, Failed):
        return f"{head}/>\n".encode()
    report = outcome.value
    tail: list[str] = []
    if isinstance(report, (CommandReport, CallTrace)):
        data = report.tail()
        tail = tail_lines(data, is_cut=len(data) == TAIL_BYTES)
    body = "\n".join(line.translate(_MARKUP) for line in tail)
    kind = ending(outcome, 0.0).reason
    return f'{head}><failure message="{_text(outcome.error)}" type="{kind}">{body}</failure></testcase>\n'.encode()


def error_case(text: str) -> bytes:
    """What is wrong with the run as a whole."""
    return (
        f'<testcase classname="{_NAME}" name="the run"><error message="{_text(text)}"/></testcase>\n'.encode()
    )


def _text(text: str) -> str:
    return escape(text).translate(_MARKUP)
