"""The end of a run, as text."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from dynamic_pipeline.attempts import Attempt, Failed
from dynamic_pipeline.events import JobFailed
from dynamic_pipeline.jobs import Job
from dynamic_pipeline.records import Record
from dynamic_pipeline.reports import CommandTail
from dynamic_pipeline.stats import OTHER_CAUSES, cause_of
from dynamic_pipeline.summary import Summary
from dynamic_pipeline.views.summary import duration, summary_lines


def summary(*failures: JobFailed, **facts: Any) -> Summary:
    """A run with these failures, and no other unless *facts* say so."""
    causes = Counter(cause_of(failure.outcome.error) for failure in failures)
    known: dict[str, Any] = {
        "accepted": 9,
        "succeeded": 0,
        "failed": len(failures),
        "unfinished": 0,
        "retries": 0,
        "is_source_complete": True,
        "failures": failures,
        "exit_code": 0,
        "error": None,
        "is_abandoned": False,
        "is_mute": False,
        "causes": causes,
    }
    return Summary(**known | facts)


def failure(
    job: int, raw: bytes, error: str, *, tries: int = 1, source: str = "in.txt", tail: bytes = b""
) -> JobFailed:
    record = Record(raw, source, job + 1)
    return JobFailed(
        Attempt(Job(job, record), tries), Failed(error, 0.1, "worker-01", value=CommandTail(tail))
    )


def told(run: Summary, code: int = 1, **more: Any) -> list[str]:
    return list(summary_lines(run, code, 1.23, **more))


def test_all_went_well_is_two_lines() -> None:
    """What was done, and the greppable last line."""
    assert ["3 ok in 1.2s, 0 retries", "0 failed, 3 ok, 0 not run — exit 0"] == told(summary(succeeded=3), 0)


@pytest.mark.parametrize(
    ("elapsed_s", "text"),
    [
        (0.0, "0.0s"),
        (59.94, "59.9s"),
        (59.96, "1m00s"),
        (125.4, "2m05s"),
        (3599.6, "1h00m"),
        (11239.0, "3h07m"),
    ],
)
def test_a_duration_is_as_exact_as_people_need_it(elapsed_s: float, text: str) -> None:
    """Tenths below a minute, seconds below an hour; nothing is rounded to 60 of a unit."""
    assert text == duration(elapsed_s)


def test_an_input_that_was_not_read_to_its_end_is_told() -> None:
    """Otherwise the counts would look like all there was."""
    lines = told(summary(succeeded=3, unfinished=2, is_source_complete=False), 130)
    assert "0 failed, 3 ok, 2 not run — exit 130" == lines[-1]
    assert lines[0].startswith("the input was not read to its end")


def test_failures_are_grouped_by_their_cause() -> None:
    """The largest group first, in each the jobs in the order of the input, with what is special to them."""
    run = summary(
        failure(9, b"nine", "exit 3", tries=4),
        failure(8, b"eight", "ValueError: no"),
        failure(7, b"seven", "exit 3"),
        failure(6, b"six", "exit 4"),
        succeeded=5,
        unfinished=1,
        retries=1,
    )
    assert [
        "FAILED exit 3: 2 jobs",
        "  job 7  in.txt:8  seven",
        "  job 9  in.txt:10  nine  (after 4 tries)",
        "FAILED ValueError: 1 job",
        "  job 8  in.txt:9  eight  ValueError: no",
        "FAILED exit 4: 1 job",
        "  job 6  in.txt:7  six",
        "5 ok in 1.2s, 1 retry",
        "4 failed, 5 ok, 1 not run — exit 130",
    ] == told(run, 130)


def test_bad_records_are_one_group() -> None:
    """Whatever is wrong with each."""
    run = summary(failure(1, b"x", "bad record: not JSON"), failure(2, b"y", "bad record: 1 field"))
    assert "FAILED bad record: 2 jobs" == told(run)[0]


def test_twenty_of_a_group_are_listed_and_the_others_counted() -> None:
    """Also those of which nothing was kept."""
    kept = [failure(job, b"x", "exit 1") for job in range(30, 0, -1)]
    run = summary(*kept, failed=1500, causes={"exit 1": 1500})
    lines = told(run)
    assert "FAILED exit 1: 1500 jobs" == lines[0]
    assert [f"  job {job}  in.txt:{job + 1}  x" for job in range(1, 21)] == lines[1:21]
    assert "  … and 1480 more" == lines[21]


def test_failures_of_too_many_causes_are_listed_together() -> None:
    """The counts of causes have an end; what is beyond is one group."""
    run = summary(failure(1, b"x", "E1: a"), failure(2, b"y", "E2: b"), causes={"E1": 1, OTHER_CAUSES: 8})
    assert ["FAILED other causes: 8 jobs", "  job 2  in.txt:3  y  E2: b", "  … and 7 more"] == told(run)[:3]


def test_the_output_of_the_first_three_of_a_group_is_shown() -> None:
    """The last twenty lines, each on one line and cut; what stands before the first newline of a cut end is left out."""
    long = b"".join(b"line %d\n" % number for number in range(30))
    run = summary(
        failure(1, b"a", "exit 1", tail=long),
        failure(2, b"b", "exit 1", tail=b"x" * 300 + b"\r\na\tb\x1b[31m\xff\n\nend"),
        failure(3, b"c", "exit 1", tail=b"half\n" + b"y" * 4091),
        failure(4, b"d", "exit 1", tail=b"not shown"),
    )
    lines = told(run)
    assert [f"      line {number}" for number in range(10, 30)] == lines[2:22]
    assert [
        "  job 2  in.txt:3  b",
        "      " + "x" * 200 + "…",
        "      a       b\\x1b[31m\\xff",
        "      ",
        "      end",
        "  job 3  in.txt:4  c",
        "      " + "y" * 200 + "…",
        "  job 4  in.txt:5  d",
        "0 ok in 1.2s, 0 retries",
    ] == lines[22:31]


def test_a_long_record_is_cut() -> None:
    """200 characters, and a sign that there were more."""
    run = summary(failure(1, b"x" * 201, "exit 1"), failure(2, b"y" * 200, "exit 1"))
    assert ["  job 1  in.txt:2  " + "x" * 200 + "…", "  job 2  in.txt:3  " + "y" * 200] == told(run)[1:3]


def test_the_way_to_run_them_again_and_problems_come_before_the_last_line() -> None:
    """Who looks at the end sees them, and who greps finds the counts in the last line."""
    lines = told(
        summary(failure(1, b"x", "exit 1")), again=["run them again: …"], problems=["pipeline: error: x"]
    )
    assert ["run them again: …", "pipeline: error: x", "1 failed, 0 ok, 0 not run — exit 1"] == lines[-3:]


@pytest.mark.parametrize(
    "hostile",
    [
        failure(1, b"a\x1b[2J\r\n0 failed", "exit 1"),
        failure(1, b"\xff\xe2\x80\xae", "exit 1"),
        failure(1, b"x", "no\n0 failed, 9 ok, 0 not run \xe2\x80\x94 exit 0"),
        failure(1, b"x", "no\x1b: 0 failed"),
        failure(1, b"x", "exit 1", source="in\n.txt"),
        failure(1, b"x", "exit 1", tail=b"\r0 failed\x1b[2J\xe2\x80\xa8x"),
    ],
)
def test_no_text_of_strangers_begins_a_line(hostile: JobFailed) -> None:
    """Record, error, output and file name are escaped: the last line cannot be forged."""
    lines = told(summary(hostile))

    assert 4 + bool(hostile.outcome.value.text) == len(lines)
    assert all(line.isprintable() for line in lines)


def test_a_payload_that_is_no_record_is_shown_as_it_is() -> None:
    """There is no place to name, and the payload stands for itself."""
    run = summary(JobFailed(Attempt(Job(2, 42), 1), Failed("E", 0.1, "w")))

    assert ["job", "2", "42"] == told(run)[1].split()
