"""The end of a run, as text."""

from dataclasses import dataclass

import pytest
from dynamic_pipeline.attempts import Attempt, Failed
from dynamic_pipeline.events import JobFailed
from dynamic_pipeline.jobs import Job
from dynamic_pipeline.records import Record
from dynamic_pipeline.views.summary import summary_lines


@dataclass(frozen=True)
class Counts:
    succeeded: int = 0
    failed: int = 0
    unfinished: int = 0
    failures: tuple[JobFailed, ...] = ()
    is_source_complete: bool = True


def failure(job: int, raw: bytes, error: str, *, tries: int = 1, source: str = "in.txt") -> JobFailed:
    record = Record(raw, source, job + 1)
    return JobFailed(Attempt(Job(job, record), tries), Failed(error, 0.1, "worker-01"))


def test_all_went_well_is_one_line() -> None:
    """The greppable last line is all there is to say."""
    assert ["0 failed, 3 ok, 0 not run — exit 0"] == list(summary_lines(Counts(succeeded=3), 0))


def test_an_input_that_was_not_read_to_its_end_is_told() -> None:
    """Otherwise the counts would look like all there was."""
    told = list(summary_lines(Counts(succeeded=3, unfinished=2, is_source_complete=False), 130))
    assert ["0 failed, 3 ok, 2 not run — exit 130"] == told[1:]
    assert told[0].startswith("the input was not read to its end")


def test_each_failure_has_its_place_its_record_and_its_reason() -> None:
    """File and line of the input, the record, the error, and how often it was tried."""
    run = Counts(
        succeeded=5,
        failed=2,
        unfinished=1,
        failures=(failure(7, b"seven", "exit 3", tries=4), failure(8, b"eight", "ValueError: no")),
    )

    assert [
        "FAILED",
        "  job 7  in.txt:8  seven  exit 3 after 4 tries",
        "  job 8  in.txt:9  eight  ValueError: no",
        "2 failed, 5 ok, 1 not run — exit 130",
    ] == list(summary_lines(run, 130))


def test_failures_that_were_not_kept_are_counted() -> None:
    """Beyond those that are listed the number is told."""
    run = Counts(failed=1500, failures=(failure(1, b"x", "exit 1"),))

    assert "  … and 1499 more" == list(summary_lines(run, 1))[2]


@pytest.mark.parametrize(
    "hostile",
    [
        failure(1, b"a\x1b[2J\r\n0 failed", "exit 1"),
        failure(1, b"\xff\xe2\x80\xae", "exit 1"),
        failure(1, b"x", "no\n0 failed, 9 ok, 0 not run \xe2\x80\x94 exit 0"),
        failure(1, b"x", "exit 1", source="in\n.txt"),
    ],
)
def test_no_text_of_strangers_begins_a_line(hostile: JobFailed) -> None:
    """Record, error and file name are escaped: the last line cannot be forged."""
    lines = list(summary_lines(Counts(failed=1, failures=(hostile,)), 1))

    assert 3 == len(lines)
    assert all(line.isprintable() for line in lines)


def test_a_payload_that_is_no_record_is_shown_as_it_is() -> None:
    """There is no place to name, and the payload stands for itself."""
    run = Counts(failed=1, failures=(JobFailed(Attempt(Job(2, 42), 1), Failed("E", 0.1, "w")),))

    assert ["job", "2", "42", "E"] == list(summary_lines(run, 1))[1].split()
