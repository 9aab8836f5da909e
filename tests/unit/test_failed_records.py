"""The records of failed jobs, kept as they stood."""

from __future__ import annotations

from pathlib import Path

import pytest
from dynamic_pipeline.errors import SourceError
from dynamic_pipeline.events import JobFailed
from dynamic_pipeline.records import MOST_BYTES, Record
from dynamic_pipeline.sinks.failed_records import FailedRecordsSink
from dynamic_pipeline.sources.lines import LineSource
from dynamic_pipeline.sources.tables import TableSource
from dynamic_pipeline.stats import Stats
from dynamic_pipeline.stop import Stop

from tests.ended import failed, report, retrying, succeeded, unfinished


def keep(
    stem: Path, suffix: str, records: list[Record], headers: dict[str, bytes] | None = None
) -> FailedRecordsSink:
    """All of *records* have failed, one batch each."""
    separator = b"\0" if suffix == "nul" else b"\n"
    sink = FailedRecordsSink(str(stem), suffix, separator, headers or {})
    for number, record in enumerate(records, 1):
        event: JobFailed = failed("exit 1")
        attempt = event.attempt._replace(job=event.attempt.job._replace(id=number, payload=record))
        sink.emit([event._replace(attempt=attempt)], Stats())
    sink.close()
    return sink


def test_nothing_is_made_before_a_job_has_failed_for_good(tmp_path: Path) -> None:
    """Neither the file nor its folder."""
    sink = FailedRecordsSink(str(tmp_path / "logs" / "failed-1"), "txt", b"\n", {})
    sink.emit([succeeded(), retrying("exit 1", value=report(1)), unfinished()], Stats())
    sink.close()

    assert ([], []) == (sink.paths, list(tmp_path.iterdir()))


@pytest.mark.parametrize(
    ("suffix", "content"),
    [("txt", b"a b\n \xff\x00\xe2\x80\xa8\n'\x1b\n"), ("nul", b"a\nb\0 \r\0\xff\0")],
)
def test_lines_come_back_as_they_were(tmp_path: Path, suffix: str, content: bytes) -> None:
    """What another run reads of the file are the same records."""
    (tmp_path / "in").write_bytes(content)
    separator = b"\0" if suffix == "nul" else b"\n"
    records = list(LineSource([str(tmp_path / "in")], Stop(), separator=separator))
    sink = keep(tmp_path / "failed-1", suffix, records)

    assert [str(tmp_path / f"failed-1.{suffix}")] == sink.paths
    assert content == Path(sink.paths[0]).read_bytes()


def test_rows_come_back_under_their_header(tmp_path: Path) -> None:
    """Quoted fields, newlines within them, rows of another width: as they stood, less the CR."""
    (tmp_path / "in.csv").write_bytes(b'\xef\xbb\xbfid,"the url"\r\n1,"a\r\n""b"""\r\n2\r\n3,c\r\n')
    source = TableSource([str(tmp_path / "in.csv")], Stop(), format="csv")
    records = list(source)
    sink = keep(tmp_path / "failed-1", "csv", records, source.headers)
    (path,) = sink.paths
    again = list(TableSource([path], Stop(), format="csv"))

    assert [record.fields for record in records] == [record.fields for record in again]
    assert b'id,"the url"\n1,"a\r\n""b"""\n2\n3,c\n' == Path(path).read_bytes()


def test_a_header_that_was_looked_at_before_the_run_is_there_too(tmp_path: Path) -> None:
    """As it is for a command, whose placeholders need the names."""
    (tmp_path / "in.tsv").write_bytes(b"a\tb\n1\t2\n")
    source = TableSource([str(tmp_path / "in.tsv")], Stop(), format="tsv")
    source.names()
    records = list(source)
    sink = keep(tmp_path / "failed-1", "tsv", records, source.headers)

    assert b"a\tb\n1\t2\n" == Path(sink.paths[0]).read_bytes()


def test_tables_with_other_headers_get_a_file_each(tmp_path: Path) -> None:
    """A row under the header of another table would be another record."""
    for name, text in (("1", "a,b\n1,2\n"), ("2", "b,a\n3,4\n"), ("3", "a,b\n5,6\n")):
        (tmp_path / f"{name}.csv").write_text(text)
    source = TableSource([str(tmp_path / f"{n}.csv") for n in "123"], Stop(), format="csv")
    records = list(source)
    sink = keep(tmp_path / "failed-1", "csv", records, source.headers)

    assert ["failed-1.csv", "failed-1-2.csv"] == [Path(path).name for path in sink.paths]
    assert ["a,b\n1,2\n5,6\n", "b,a\n3,4\n"] == [Path(path).read_text() for path in sink.paths]


def test_records_that_are_not_all_there_are_counted_and_left_out(tmp_path: Path) -> None:
    """A line over the limit was cut; an open quote would swallow the rows that follow."""
    (tmp_path / "in.csv").write_bytes(b'a,b\n1,"' + b"x" * MOST_BYTES + b'"\n2,3,4\n5,"6\n')
    source = TableSource([str(tmp_path / "in.csv")], Stop(), format="csv")
    records = list(source)
    sink = keep(tmp_path / "failed-1", "csv", records, source.headers)
    assert (2, b"a,b\n2,3,4\n") == (sink.left_out, Path(sink.paths[0]).read_bytes())

    (tmp_path / "in").write_bytes(b"x" * (MOST_BYTES + 1) + b"\nit's \"\n" + b"y" * MOST_BYTES)
    sink = keep(tmp_path / "failed-2", "txt", list(LineSource([str(tmp_path / "in")], Stop())))
    assert 1 == sink.left_out
    assert b"it's \"\n" + b"y" * MOST_BYTES + b"\n" == Path(sink.paths[0]).read_bytes()


def test_a_place_that_takes_no_file_costs_the_offer_and_not_the_run(tmp_path: Path) -> None:
    """The failures are told anyhow; the reason is kept for the end."""
    (tmp_path / "logs").write_text("")
    sink = keep(tmp_path / "logs" / "failed-1", "txt", [Record(b"a", "in", 1), Record(b"b", "in", 2)])

    assert [] == sink.paths
    assert isinstance(sink.error, OSError)


def test_a_bad_header_still_ends_the_source(tmp_path: Path) -> None:
    """Nothing is remembered of it."""
    (tmp_path / "in.csv").write_text("a,a\n1,2\n")
    source = TableSource([str(tmp_path / "in.csv")], Stop(), format="csv")
    with pytest.raises(SourceError):
        list(source)

    assert {} == source.headers
