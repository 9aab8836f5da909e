"""The end of a run as GitHub Actions shows it: annotations, and a summary of the step. Pure text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dynamic_pipeline.events import JobFailed
from dynamic_pipeline.records import Record
from dynamic_pipeline.reports import TAIL_BYTES, CommandTail
from dynamic_pipeline.summary import Summary
from dynamic_pipeline.views.endings import shortened, tail_lines
from dynamic_pipeline.views.summary import duration

MOST_ANNOTATIONS = 10  # of a kind that GitHub shows for one step
_MOST_ROWS = 100
_MOST_OUTPUTS = 20  # of them with the end of their output
MOST_BYTES = 1 << 19  # GitHub drops a summary of more than a mebibyte as a whole; other steps' are its own


def annotation_lines(run: Summary) -> Iterator[str]:
    """A workflow command for each of the first failures, and one that tells of the rest."""
    shown = run.failures if run.failed <= MOST_ANNOTATIONS else run.failures[: MOST_ANNOTATIONS - 1]
    for failure in shown:
        job = failure.attempt.job
        place = {"title": f"job {job.id} failed"}
        if isinstance(record := job.payload, Record) and record.source != "-":
            place = {"file": record.source, "line": str(record.line), **place}
        text = f"{shortened(failure.outcome.error)}: {shortened(str(job.payload))}"
        yield _command("error", place, text)
    if left := run.failed - len(shown):
        yield _command("error", {"title": "more jobs failed"}, f"… and {left} more")


def _command(name: str, properties: dict[str, str], text: str) -> str:
    listed = ",".join(f"{key}={_property(value)}" for key, value in properties.items() if value)
    return f"::{name} {listed}::{_data(text)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def step_summary(run: Summary, code: int, elapsed_s: float, again: Sequence[str]) -> str:
    """Markdown: how it ended, the counts, the first failures with the end of what they wrote; never too long."""
    verdict = "✅ all done" if code == 0 else f"❌ exit {code}"
    ok, failed = run.succeeded + run.succeeded_before, run.failed + run.failed_before + run.held
    rows = [
        f"## dynamic-pipeline: {verdict}",
        "",
        "| ok | failed | not run | retries | time |",
        "| ---: | ---: | ---: | ---: | ---: |",
        f"| {ok} | {failed} | {run.unfinished} | {run.retries} | {duration(elapsed_s)} |",
        "",
    ]
    if run.failures:
        rows += ["| job | record | error | tries |", "| ---: | --- | --- | ---: |"]
        rows += map(_row, run.failures[:_MOST_ROWS])
        if left := run.failed - min(len(run.failures), _MOST_ROWS):
            rows.append(f"\n… and {left} more")
        rows.append("")
    for failure in run.failures[:_MOST_OUTPUTS]:
        rows += _output(failure)
    for line in again:
        rows += [_code(line), ""]
    text = "\n".join(rows) + "\n"
    return text.encode()[:MOST_BYTES].decode("utf-8", "ignore")


def _row(failure: JobFailed) -> str:
    (job, number), outcome = failure
    return (
        f"| {job.id} | {_code(shortened(str(job.payload)))} | {_code(shortened(outcome.error))} | {number} |"
    )


def _code(text: str) -> str:
    """As code in a table's cell: nothing in it is Markdown or HTML."""
    safe = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for char in "|`*_[]\\~@#!$":
        safe = safe.replace(char, f"&#{ord(char)};")
    return f"<code>{safe}</code>"


def _output(failure: JobFailed) -> Iterator[str]:
    value = failure.outcome.value
    if isinstance(value, CommandTail) and value.text:
        lines = tail_lines(value.text, is_cut=len(value.text) >= TAIL_BYTES)
        yield f"<details><summary>job {failure.attempt.job.id}: the end of its output</summary>"
        yield "<pre>" + "<br>".join(_code(line) for line in lines) + "</pre></details>"
        yield ""
