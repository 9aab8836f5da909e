"""Events in the seed's words."""

import signal
from typing import Any

import pytest
from dynamic_pipeline import events as ev
from dynamic_pipeline.attempts import Attempt, Failed, Succeeded
from dynamic_pipeline.jobs import Job
from dynamic_pipeline.records import Record
from dynamic_pipeline.stats import Stats
from dynamic_pipeline.views.log_line import Line, log_lines, worker_name


def failed(error: str = "boom", worker: str = "worker-01") -> Failed:
    return Failed(error, 0.5, worker)


def attempt(job: int, number: int = 1) -> Attempt:
    return Attempt(Job(job, None), number)


def succeeded(job: int = 18) -> ev.JobSucceeded:
    return ev.JobSucceeded(attempt(job), Succeeded(None, 2.0, "worker-01"))


def lines(event: ev.Event, stats: Stats | None = None, now_s: float = 0.0) -> list[Line]:
    return list(log_lines(event, stats or Stats(), now_s))


def texts(event: ev.Event, stats: Stats | None = None, now_s: float = 0.0) -> list[str]:
    return [line.text for line in lines(event, stats, now_s)]


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (ev.RunStarted(2), ["pipeline running — press Ctrl+C to start graceful drain"]),
        (ev.LimitChanged(2, 3, 55, "x"), ["backlog size: 55", "↑ added worker (total 3)"]),
        (ev.LimitChanged(4, 3, 9, "x"), ["backlog size: 9", "↓ removed worker (total 3)"]),
        (
            ev.JobRetrying(attempt(17), failed(worker="worker-02"), 3),
            ["[worker 02] job 17 failed, retrying (1/3)"],
        ),
        (
            ev.JobFailed(attempt(17, 4), failed()),
            [
                "[worker 01] job 17 permanently failed",
                "✗ job 17 handled by worker 01, ERROR: boom",
            ],
        ),
        (succeeded(18), ["✓ job 18 handled by worker 01"]),
        (ev.Draining(41), ["draining backlog=41"]),
        (ev.JobsClosed(), ["jobs channel closed — stopping workers and supervisor"]),
        (ev.RunFinished(is_graceful=True), ["graceful exit complete"]),
        (ev.JobUnfinished(Job(3, None)), []),
        (ev.SourceResumed(50.0), ["rate target 50.0/s, the queue has room again"]),
        (ev.AbortStarted("second signal", 7), ["second signal — ending what runs, 7 jobs in hand"]),
    ],
)
def test_the_lines_are_word_for_word_the_contract(event: ev.Event, expected: list[str]) -> None:
    """The seed's lines, exactly; the backlog is told before the change that it caused."""
    assert expected == texts(event)


def test_a_signal_is_answered_with_the_seeds_line_and_an_estimate() -> None:
    """41 jobs of 2 s on 3 workers are about 27 s."""
    stats = Stats()
    stats.add([succeeded(), succeeded()], 0)

    assert [
        "signal received — stopping producer, beginning drain",
        "41 jobs left, about 27s with 3 workers; a second signal after a second or more stops now",
    ] == texts(ev.DrainStarted("signal received", signal.SIGINT, 41, 3), stats)


def test_a_drain_for_another_reason_says_so_and_estimates_nothing_it_cannot_know() -> None:
    """Before the first job has finished there is no service time."""
    assert [
        "asked to — stopping producer, beginning drain",
        "5 jobs left with 2 workers; a second signal after a second or more stops now",
    ] == texts(ev.DrainStarted("asked to", None, 5, 2))


def test_a_full_queue_is_told_with_the_rate_and_the_wait() -> None:
    """24 jobs in ten seconds against 200 waiting ones are 83 seconds."""
    stats = Stats()
    stats.add([ev.RunStarted(8)], 100.0)
    stats.add([succeeded()] * 24, 110.0)

    assert ["rate target 50.0/s, actual 2.4/s, queue 200/200, wait about 83s"] == texts(
        ev.SourceStalled(50.0, 200, 200), stats, 110.0
    )


def test_a_full_queue_that_nothing_has_left_yet_has_an_unknown_wait() -> None:
    """No rate, no estimate."""
    assert ["rate target 50.0/s, actual 0.0/s, queue 200/200, wait unknown"] == texts(
        ev.SourceStalled(50.0, 200, 200)
    )


@pytest.mark.parametrize(("is_graceful", "unfinished"), [(False, 2), (True, 2), (False, 0)])
def test_an_end_with_work_left_or_by_force_is_not_called_graceful(is_graceful: bool, unfinished: int) -> None:
    """The last line tells how many jobs were left."""
    stats = Stats()
    stats.add([ev.JobUnfinished(Job(number, None)) for number in range(unfinished)], 0)

    (line,) = lines(ev.RunFinished(is_graceful=is_graceful), stats)

    assert ("WARNING", f"stopped with {unfinished} jobs unfinished") == (line.level, line.text)


HOSTILE = "\n2025/08/13 10:00:00.000000 ✓ job 1 handled by worker 01\x1b[2J\u202e"


@pytest.mark.parametrize(
    "event",
    [
        ev.JobFailed(attempt(17), failed(HOSTILE)),
        ev.JobRetrying(attempt(17), failed(HOSTILE), 3),
        ev.DrainStarted(HOSTILE, None, 1, 1),
        ev.AbortStarted(HOSTILE, 1),
    ],
)
def test_no_text_of_strangers_begins_a_line(event: ev.Event) -> None:
    """Newlines, escape codes and bidi marks in errors and reasons come out as escapes."""
    assert all(text.isprintable() for text in texts(event))


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (
            ev.JobFailed(attempt(17, 4), failed()),
            {"job": 17, "attempt": 4, "worker": "worker-01", "elapsed_s": 0.5, "error": "boom"},
        ),
        (succeeded(18), {"job": 18, "attempt": 1, "worker": "worker-01", "elapsed_s": 2.0}),
        (ev.LimitChanged(2, 3, 55, "why"), {"old": 2, "new": 3, "backlog": 55, "reason": "why"}),
        (ev.Draining(41), {"backlog": 41}),
        (ev.RunFinished(is_graceful=True), {"succeeded": 0, "failed": 0, "unfinished": 0}),
    ],
)
def test_the_same_facts_come_as_fields(event: ev.Event, expected: dict[str, Any]) -> None:
    """The machine-readable half of the last line of an event."""
    assert expected == lines(event)[-1].fields


def test_a_failure_names_its_record_in_the_fields() -> None:
    """Whoever reads the log by machine finds the input again: the record, its file and its line."""
    event = ev.JobFailed(Attempt(Job(17, Record(b"rec\xff", "in.txt", 9)), 1), failed())

    for line in lines(event):
        assert ("rec\udcff", "in.txt", 9) == tuple(line.fields[key] for key in ("record", "source", "line"))


@pytest.mark.parametrize(
    ("event", "level"),
    [
        (succeeded(), "INFO"),
        (ev.JobRetrying(attempt(1), failed(), 3), "WARNING"),
        (ev.JobFailed(attempt(1), failed()), "ERROR"),
    ],
)
def test_the_graver_the_louder(event: ev.Event, level: str) -> None:
    """A success informs, a retry warns, a failure is an error."""
    assert {level} == {line.level for line in lines(event)}


@pytest.mark.parametrize(
    ("thread", "name"),
    [("worker-02", "worker 02"), ("worker-100", "worker 100"), ("MainThread", "MainThread")],
)
def test_a_worker_is_named_in_the_seeds_way(thread: str, name: str) -> None:
    """Two digits at least, a space before them."""
    assert name == worker_name(thread)
