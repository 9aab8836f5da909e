"""JUnit XML, as CI systems read it."""

from __future__ import annotations

import os
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from dynamic_pipeline.errors import OutputError
from dynamic_pipeline.events import Draining, Event
from dynamic_pipeline.sinks.files import CompleteFile
from dynamic_pipeline.sinks.junit import JunitSink
from dynamic_pipeline.stats import Stats
from dynamic_pipeline.views.junit import HEAD_BYTES, suite_head

from tests.ended import failed, job, report, retrying, succeeded, unfinished

STARTED = datetime(2025, 8, 13, 10, 0, 0, tzinfo=UTC)


def written(tmp_path: Path, *events: Event, errors: tuple[str, ...] = ()) -> ET.Element:
    """The report on *events*, as a parser reads it."""
    path = tmp_path / "report.xml"
    sink = JunitSink(CompleteFile("--junit", str(path)))
    for event in events:
        sink.emit([event], Stats())
    sink.close()
    assert not path.exists()
    sink.finish(errors=errors, started=STARTED, elapsed_s=1.5)
    assert ["report.xml"] == [entry.name for entry in tmp_path.iterdir()]
    return ET.parse(path).getroot()


def test_the_suite_has_its_counts_first(tmp_path: Path) -> None:
    """Although they are known last."""
    suite = written(
        tmp_path,
        succeeded(job(1)),
        retrying("exit 1", job(2), report(1)),
        failed("exit 1", job(2), report(1)),
        unfinished(job(3)),
        Draining(1),
        errors=("the input was not read to its end",),
    )

    assert "testsuite" == suite.tag
    assert {
        "name": "dynamic-pipeline",
        "tests": "4",
        "failures": "1",
        "errors": "1",
        "skipped": "1",
        "time": "1.500",
        "timestamp": "2025-08-13T10:00:00",
    } == suite.attrib
    assert 4 == len(suite)


def test_a_case_is_a_job(tmp_path: Path) -> None:
    """Its class is the input, its name the record."""
    (case,) = written(tmp_path, succeeded(job(1, b"in/a.py")))

    assert {"classname": "in.txt", "name": "in/a.py", "time": "0.125"} == case.attrib
    assert 0 == len(case)


def test_a_failure_has_its_reason_and_the_end_of_its_output(tmp_path: Path) -> None:
    """The last twenty lines, of stderr if there is any."""
    lines = b"".join(b"line %d\n" % number for number in range(30))
    (case,) = written(tmp_path, failed("exit 3", value=report(3, stdout=b"no", stderr=lines)))
    (failure,) = case

    assert ("failure", {"message": "exit 3", "type": "exit"}) == (failure.tag, failure.attrib)
    assert [f"line {number}" for number in range(10, 30)] == (failure.text or "").splitlines()


def test_a_failed_call_has_its_reason(tmp_path: Path) -> None:
    """It has no output of its own."""
    ((failure,),) = written(tmp_path, failed("ValueError: no"))

    assert {"message": "ValueError: no", "type": "exception"} == failure.attrib
    assert failure.text is None


def test_what_was_not_finished_is_skipped(tmp_path: Path) -> None:
    """It neither failed nor passed."""
    cases = written(tmp_path, unfinished(job(1)), unfinished(job(2), report(-15), has_run=True))

    assert [("skipped", "not run"), ("skipped", "interrupted")] == [
        (case[0].tag, case[0].get("message")) for case in cases
    ]


HOSTILE = b"]]></failure>&<\"'\x1b[31m\x00\x08\xff\xef\xbf\xbe\xed\xa0\x80\xe2\x80\xa8\r\xf0\x9f\x98\x80"


@pytest.mark.parametrize(
    "event",
    [
        succeeded(job(1, HOSTILE)),
        failed("E: " + HOSTILE.decode("utf-8", "surrogateescape")),
        failed("exit 1", value=report(1, stderr=HOSTILE)),
        succeeded(job(1, b"x" * (1 << 20))),
    ],
)
def test_no_text_of_strangers_breaks_the_report(tmp_path: Path, event: Event) -> None:
    """Markup is escaped, and what XML forbids is written as people can read it."""
    suite = written(tmp_path, event, succeeded(job(2)))

    assert 2 == len(suite)
    text = ET.tostring(suite, encoding="unicode")
    assert "😀" in text or "more characters" in text
    assert "\x1b" not in text


def test_an_existing_report_is_replaced_only_by_a_whole_one(tmp_path: Path) -> None:
    """A run that dies midway leaves the report of the one before."""
    path = tmp_path / "report.xml"
    path.write_text("old")
    sink = JunitSink(CompleteFile("--junit", str(path)))
    sink.emit([succeeded(job(1))], Stats())
    sink.close()

    assert "old" == path.read_text()


def test_a_report_that_could_not_be_written_stays_away(tmp_path: Path) -> None:
    """The run ends with a fault, and half a report takes nobody in."""
    file = CompleteFile("--junit", str(tmp_path / "report.xml"))
    sink = JunitSink(file)
    with Path(os.devnull).open("rb") as not_writable:
        os.dup2(not_writable.fileno(), file._fd)
    with pytest.raises(OutputError):
        sink.emit([succeeded(job(1))], Stats())
    assert [] == list(tmp_path.iterdir())
    sink.finish(errors=(), started=STARTED, elapsed_s=0.0)

    assert [] == list(tmp_path.iterdir())


def test_the_head_has_one_size() -> None:
    """It is written over blanks, whatever the numbers are."""
    numbers = {"tests": 10**18, "failures": 10**18, "errors": 10**18, "skipped": 10**18}
    for head in (
        suite_head(**numbers, started=STARTED, elapsed_s=1e9),
        suite_head(tests=0, failures=0, errors=0, skipped=0, started=STARTED, elapsed_s=0.0),
    ):
        assert HEAD_BYTES == len(head)
        assert head.endswith(b">\n")


def test_memory_is_flat(tmp_path: Path) -> None:
    """Twenty thousand jobs leave nothing behind in memory."""
    sink = JunitSink(CompleteFile("--junit", str(tmp_path / "report.xml")))
    batch: list[Event] = [
        succeeded(job(1, b"x" * 100)),
        failed("exit 1", value=report(1, stdout=b"x" * 100)),
    ] * 50
    sink.emit(batch, Stats())
    tracemalloc.start()
    for _ in range(200):
        sink.emit(batch, Stats())
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    sink.finish(errors=(), started=STARTED, elapsed_s=0.0)

    assert grown < 100_000
    assert "20100" == ET.parse(tmp_path / "report.xml").getroot().get("tests")
