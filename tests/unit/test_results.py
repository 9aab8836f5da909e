"""The results, a line of JSON per job, and what functions may return for them."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dynamic_pipeline.attempts import Attempt, Failed, Succeeded, run_attempt
from dynamic_pipeline.events import Draining, Event
from dynamic_pipeline.reports import CallReport
from dynamic_pipeline.sinks.files import GrowingFile
from dynamic_pipeline.sinks.results import ResultsSink
from dynamic_pipeline.stats import Stats
from dynamic_pipeline.work.callable import call_with_record, returning_json

from tests.ended import START_S, describe, failed, job, report, retrying, succeeded, unfinished


def write(tmp_path: Path, *events: Event) -> list[dict[str, Any]]:
    """The lines for *events*, decoded; one that is no JSON is a failure."""
    sink = ResultsSink(GrowingFile.open("--results", str(tmp_path / "results")), describe)
    sink.emit(events, Stats())
    sink.close()
    assert {} == sink._attempts
    return [json.loads(line) for line in (tmp_path / "results").read_text().splitlines()]


def test_a_command_that_succeeded(tmp_path: Path) -> None:
    """What it was, how it ended, how much it wrote."""
    (line,) = write(tmp_path, succeeded(value=report(stdout=b"123", stderr=b"4")))

    assert {
        "job": 17,
        "source": "in.txt",
        "line": 18,
        "record": "in/a",
        "state": "succeeded",
        "reason": None,
        "error": None,
        "exit": 0,
        "signal": None,
        "stdout_bytes": 3,
        "stderr_bytes": 1,
        "command": "work b'in/a' 17 2",
        "attempts": [{"started": START_S, "elapsed_s": 0.125, "exit": 0, "signal": None, "error": None}],
    } == line


def test_every_attempt_is_listed_with_its_job(tmp_path: Path) -> None:
    """Also where attempts at other jobs came in between; a job has one line, at its end."""
    lines = write(
        tmp_path,
        retrying("exit 1", job(1), report(1)),
        retrying("exit 5", job(2), report(5)),
        retrying("timeout after 1 s", job(1), report(-9, is_timeout=True), attempt=2),
        Draining(2),
        failed("exit 2", job(1), report(2), attempt=3),
        succeeded(job(2), report(), attempt=2),
    )

    assert [(1, "failed", "exit"), (2, "succeeded", None)] == [
        (line["job"], line["state"], line["reason"]) for line in lines
    ]
    assert [
        [(1, None, "exit 1"), (None, 9, "timeout after 1 s"), (2, None, "exit 2")],
        [(5, None, "exit 5"), (0, None, None)],
    ] == [[(a["exit"], a["signal"], a["error"]) for a in line["attempts"]] for line in lines]


@pytest.mark.parametrize(
    ("event", "state", "reason", "attempts"),
    [
        (failed("exit 3", value=report(3)), "failed", "exit", 1),
        (failed("killed by signal 9 (SIGKILL)", value=report(-9)), "failed", "signal", 1),
        (failed("timeout after 1 s", value=report(0, is_timeout=True)), "failed", "timeout", 1),
        (failed("timeout after 1 s"), "failed", "timeout", 1),
        (failed("bad record: not JSON"), "failed", "bad_record", 1),
        (failed("ValueError: no"), "failed", "exception", 1),
        (unfinished(), "unfinished", "not_started", 0),
        (unfinished(value=report(-15), has_run=True), "unfinished", "interrupted", 0),
    ],
)
def test_the_state_is_the_jobs_and_the_reason_says_more(
    tmp_path: Path, event: Event, state: str, reason: str, attempts: int
) -> None:
    """One of the states in which a job can end; an interruption is no attempt."""
    (line,) = write(tmp_path, event)

    assert (state, reason, attempts) == (line["state"], line["reason"], len(line["attempts"]))


def test_attempts_of_a_job_that_was_not_finished_are_told(tmp_path: Path) -> None:
    """It waited to be tried again when the run was stopped."""
    (line,) = write(tmp_path, retrying("exit 1", value=report(1)), unfinished())

    assert ("unfinished", ["exit 1"]) == (line["state"], [attempt["error"] for attempt in line["attempts"]])


@pytest.mark.parametrize("raw", [b"\xff\xfe", b"a\xed\xa0\x80", b"\xffx" * 5000])
def test_a_record_that_is_no_utf_8_can_be_read_and_restored(tmp_path: Path, raw: bytes) -> None:
    """Escaped for people, in base64 for programs."""
    (line,) = write(tmp_path, succeeded(job(1, raw), report()))

    assert line["record"].isprintable()
    assert raw == base64.b64decode(line["record_base64"])


@pytest.mark.parametrize("raw", [b"a\nb\x00\x1b", "日本 \u2028 😀".encode(), b""])
def test_a_record_of_utf_8_is_itself(tmp_path: Path, raw: bytes) -> None:
    """JSON has escapes for all of it, and a line stays a line."""
    (line,) = write(tmp_path, succeeded(job(1, raw), report()))

    assert raw.decode() == line["record"]
    assert "record_base64" not in line


@pytest.mark.parametrize("value", [None, 0, "x\n\udcff", [1, {"a": "日本"}], {"exit": 3}, True])
def test_what_a_call_returned_stands_in_its_line(tmp_path: Path, value: Any) -> None:
    """As JSON, whatever names it uses itself."""
    (line,) = write(tmp_path, succeeded(job(1), returning_json(lambda given: given)(value)))

    assert ("succeeded", value) == (line["state"], line["value"])
    assert "exit" not in line


def test_a_call_that_failed_has_no_value(tmp_path: Path) -> None:
    """There is nothing that it returned."""
    (line,) = write(tmp_path, failed("ValueError: no"))

    assert ("ValueError: no", False) == (line["error"], "value" in line)


class _Hostile(dict[str, Any]):
    def items(self) -> Any:
        raise SystemError("not today")


def circular() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def deep() -> list[Any]:
    value: list[Any] = []
    for _ in range(200_000):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: {1, 2}, "the returned set is no JSON: Object of type set is not JSON serializable"),
        (lambda: b"x", "the returned bytes is no JSON: Object of type bytes is not JSON serializable"),
        (lambda: float("nan"), "the returned float is no JSON: Out of range float values"),
        (lambda: [float("inf")], "the returned list is no JSON: Out of range float values"),
        (lambda: {(1, 2): 3}, "the returned dict is no JSON: keys must be str"),
        (lambda: 10**5000, "the returned int is no JSON: Exceeds the limit"),
        (circular, "the returned list is no JSON: Circular reference detected"),
        (deep, "the returned list is no JSON: it is nested too deeply"),
        (lambda: _Hostile(a=1), "the returned _Hostile is no JSON: SystemError: not today"),
    ],
)
def test_a_value_that_is_no_json_fails_its_job_at_once(make: Callable[[], Any], text: str) -> None:
    """With one clear text; another call would return the like, so it is not tried again."""
    outcome = run_attempt(call_with_record(returning_json(lambda _: make())), Attempt(job(1), 1))

    assert isinstance(outcome, Failed)
    assert outcome.error.startswith(text)
    assert not outcome.is_retryable
    assert "\n" not in outcome.error


def test_what_the_function_raises_is_still_its_own_failure() -> None:
    """Only what it returns is looked at."""

    def raising(record: str) -> None:
        raise ValueError(record)

    outcome = run_attempt(call_with_record(returning_json(raising)), Attempt(job(1), 1))

    assert isinstance(outcome, Failed)
    assert ("ValueError: in/a", True) == (outcome.error, outcome.is_retryable)


def test_the_value_is_encoded_where_the_function_ran() -> None:
    """On its worker, and only once."""
    outcome = run_attempt(call_with_record(returning_json(str.upper)), Attempt(job(1), 1))

    assert isinstance(outcome, Succeeded)
    assert CallReport('"IN/A"') == outcome.value


def test_a_command_that_cannot_be_shown_does_not_end_the_run(tmp_path: Path) -> None:
    """The job has run, and its line says that there is no text of it."""

    def hostile(*_: object) -> str:
        raise RecursionError("too deep")

    sink = ResultsSink(GrowingFile.open("--results", str(tmp_path / "results")), hostile)
    sink.emit([succeeded(value=report())], Stats())
    sink.close()

    line = json.loads((tmp_path / "results").read_text())
    assert "(it cannot be shown: RecursionError)" == line["command"]
