"""Records with names: rows of CSV and TSV files, and JSON lines."""

import csv
import gc
import io
import os
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from dynamic_pipeline.errors import SourceError, SourceStopped, UsageError
from dynamic_pipeline.records import MOST_BYTES, Record
from dynamic_pipeline.records import TableFormat as Format
from dynamic_pipeline.sources.tables import TableSource
from dynamic_pipeline.stop import Stop
from hypothesis import given
from hypothesis import strategies as st

TOO_LONG = f"the record is longer than {MOST_BYTES} bytes"
FORMATS: tuple[Format, ...] = ("csv", "tsv", "jsonl")


@pytest.fixture
def stop() -> Iterator[Stop]:
    """Set when the test has ended, so that a source lets go of its pipe."""
    stop = Stop()
    yield stop
    stop.set()


@pytest.fixture
def stdin() -> Iterator[int]:
    """The writing end of a pipe that is standard input until the test has ended."""
    before = os.dup(0)
    reader, writer = os.pipe()
    os.dup2(reader, 0)
    os.close(reader)
    yield writer
    os.dup2(before, 0)
    os.close(before)


Make = Callable[..., TableSource]


@pytest.fixture
def make(tmp_path: Path, stop: Stop) -> Make:
    """Makes a source of files with the given contents, named 0, 1, …"""

    def of(*contents: bytes, format: Format = "csv") -> TableSource:  # noqa: A002 - as the source calls it
        paths = [str(tmp_path / str(number)) for number in range(len(contents))]
        for path, content in zip(paths, contents, strict=True):
            Path(path).write_bytes(content)
        return TableSource(paths, stop, format=format)

    return of


def open_fds() -> int:
    gc.collect()  # what an earlier test left in a traceback must not be closed while this one counts
    return sum(1 for _ in Path("/dev/fd").iterdir())


def fields(source: TableSource) -> list[Any]:
    """The fields of each record, or what is wrong with it."""
    return [record.problem or record.fields for record in source]


def test_a_row_has_its_fields_by_name_its_bytes_and_its_place(make: Make, tmp_path: Path) -> None:
    """What a Python function gets is the fields; each file has a header of its own."""
    records = list(make(b"id,name\n1,Ann\n\n2,\n", b"name,id\nBob,3\n"))

    assert [
        Record(b"1,Ann", str(tmp_path / "0"), 2, "", {"id": "1", "name": "Ann"}),
        Record(b"2,", str(tmp_path / "0"), 4, "", {"id": "2", "name": ""}),
        Record(b"Bob,3", str(tmp_path / "1"), 2, "", {"id": "3", "name": "Bob"}),
    ] == records
    assert {"id": "1", "name": "Ann"} == records[0].payload


def test_the_payload_is_a_dict_of_its_own() -> None:
    """What a function changes in it does not reach the next attempt; a plain line is its text."""
    record = Record(b"x", "in", 1, "", {"a": "x"})
    payload = record.payload
    assert isinstance(payload, dict)
    payload.clear()

    assert {"a": "x"} == record.payload
    assert {} == Record(b"{}", "in", 1, "", {}).payload
    assert "x" == Record(b"x", "in", 1).payload


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", []),
        (b"a,b\n", []),
        (b"\n \n", []),
        (b"a,b\n1,2", [{"a": "1", "b": "2"}]),
        (b"a,b\r\n1,2\r\n", [{"a": "1", "b": "2"}]),
        (b"\xef\xbb\xbfa,b\n1,2\n", [{"a": "1", "b": "2"}]),
        (b'\xef\xbb\xbf"a",b\n1,2\n', [{"a": "1", "b": "2"}]),
        (b"\n\na,b\n  \n1,2\n\r\n", [{"a": "1", "b": "2"}]),
        (b"a\n  \n", [{"a": "  "}]),
        (b'a\n""\n', [{"a": ""}]),
        (b"a,b\n \xff,\xc3\n", [{"a": " \udcff", "b": "\udcc3"}]),
        ("a,b\nx\u2028y,\x85\x0b\x0c\x1c\n".encode(), [{"a": "x\u2028y", "b": "\x85\x0b\x0c\x1c"}]),
        (b'a,b\n"1\r\n\n,""2",x\n3,4\n', [{"a": '1\r\n\n,"2', "b": "x"}, {"a": "3", "b": "4"}]),
        (b'"a\nb",c\n1,2\n', [{"a\nb": "1", "c": "2"}]),
    ],
)
def test_what_a_csv_file_holds(make: Make, content: bytes, expected: list[Any]) -> None:
    """Names come from the header; within quotes all bytes are the user's, elsewhere blank lines do not count."""
    assert expected == fields(make(content))


def test_tsv_has_tabs_and_the_quotes_of_csv(make: Make) -> None:
    """A comma is a character like any other; a row of empty fields is no blank line."""
    source = make(b'a\tb\n1,0\t"2\t""\n"\n\t\n', format="tsv")

    assert [{"a": "1,0", "b": '2\t"\n'}, {"a": "", "b": ""}] == fields(source)
    assert 0 == source.blank


def test_a_row_over_several_lines_keeps_its_bytes_and_the_line_where_it_starts(make: Make) -> None:
    """Its raw bytes are those of the file, without the last line's end."""
    records = list(make(b'a,b\r\n\r\n"1\r\n2",x\r\n3,4\r\n'))

    assert [(b'"1\r\n2",x', 3), (b"3,4", 5)] == [(record.raw, record.line) for record in records]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (b"1,2,3", "3 fields, the header has 2"),
        (b"1", "1 field, the header has 2"),
        (b'"1"2,3', """not CSV: ',' expected after '"'"""),
        (b"1\r2,3", "not CSV: a CR outside quotes"),
        (b'1,"2\n"x', """not CSV: ',' expected after '"'"""),
    ],
)
def test_a_row_that_breaks_a_rule_is_a_bad_record(make: Make, row: bytes, problem: str) -> None:
    """It has its bytes and no fields, and reading goes on with the next line."""
    bad, good = make(b"a,b\n" + row + b"\n1,2\n")

    assert (row, 2, problem, None) == (bad.raw, bad.line, bad.problem, bad.fields)
    assert ({"a": "1", "b": "2"}, "") == (good.fields, good.problem)


def test_an_error_of_tsv_says_so_on_one_line(make: Make) -> None:
    """The csv module would write a bare tab."""
    assert ["""not TSV: '\\t' expected after '"'"""] == fields(make(b'a\n"1"2\n', format="tsv"))


@pytest.mark.parametrize("end", [b"", b"\n", b"\n2,3\n"])
def test_an_unclosed_quote_is_a_bad_record(make: Make, end: bytes) -> None:
    """It takes the rest of the file, which is told."""
    (record,) = make(b'a,b\n1,"x' + end)

    assert (2, "a quote is open at the end of the file") == (record.line, record.problem)
    assert b'1,"x' + end.removesuffix(b"\n") == record.raw


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("size", [MOST_BYTES, MOST_BYTES + 1, 3 << 20])
def test_a_line_over_a_mebibyte_is_a_bad_record(make: Make, format: Format, size: int) -> None:  # noqa: A002
    """Also one of nothing but spaces; exactly a mebibyte is good, and the next line is whole again."""
    before, around, after = (b"", b'{"a":"%s"}', b'{"a":""}') if format == "jsonl" else (b"a\n", b"%s", b'""')
    long = around % (b" " * (size - len(around % b"")))
    bad, good = make(before + long + b"\n" + after + b"\n", format=format)

    assert (size > MOST_BYTES) == (f"longer than {MOST_BYTES} bytes" in bad.problem) == (bad.fields is None)
    assert min(size, MOST_BYTES) == len(bad.raw)
    assert {"a": ""} == good.fields


def test_a_quote_left_open_is_given_up_after_a_mebibyte(make: Make) -> None:
    """The lines up to there are lost with it, and a new row begins at the next."""
    line = b"x" * 1023 + b"\n"
    bad, *good = make(b'a\n"' + line * 1025 + b"1\n2\n")

    assert (2, f"{TOO_LONG}: is a quote left open?", MOST_BYTES) == (bad.line, bad.problem, len(bad.raw))
    assert [(b"1", 1027), (b"2", 1028)] == [(r.raw, r.line) for r in good]


def test_rows_cost_bounded_memory(make: Make) -> None:
    """16 MiB behind an open quote are read with a few MiB."""
    source = make(b'a\n"' + (b"x" * 1023 + b"\n") * (16 << 10))
    tracemalloc.start()
    try:
        next(iter(source))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < 10 << 20


@given(
    st.integers(1, 4).flatmap(
        lambda width: st.lists(
            st.lists(
                st.text(st.sampled_from('",\n\r\t \x00\ufeff\u2028é\udcffa'), max_size=5),
                min_size=width,
                max_size=width,
            ),
            max_size=5,
        )
    ),
    st.sampled_from(["csv", "tsv"]),
    st.sampled_from(["\n", "\r\n"]),
)
def test_what_a_csv_writer_wrote_is_read_back(rows: list[list[str]], format: Format, end: str) -> None:  # noqa: A002
    """Whatever the values hold."""
    names = [f"n{number}" for number in range(len(rows[0]) if rows else 1)]
    text = io.StringIO(newline="")
    delimiter = "," if format == "csv" else "\t"
    csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL).writerows([names, *rows])
    stop = Stop()
    with tempfile.NamedTemporaryFile() as file:
        file.write(text.getvalue().encode("utf-8", "surrogateescape"))
        file.flush()
        read = fields(TableSource([file.name], stop, format=format))
    stop.set()

    assert [dict(zip(names, row, strict=True)) for row in rows] == read


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'{"a": [1, {"b": null}], "\xff": "\xe2\x80\xa8"}', {"a": [1, {"b": None}], "\udcff": "\u2028"}),
        (b"{}", {}),
        (b" {} \r", {}),
        (b"[1]", "a JSON array, not an object"),
        (b'"x"', "a JSON string, not an object"),
        (b"true", "a JSON boolean, not an object"),
        (b"null", "JSON null, not an object"),
        (b"1", "a JSON number, not an object"),
        (b"-1.5", "a JSON number, not an object"),
        (b'{"a": }', "not JSON: Expecting value at column 7"),
        (b"{} {}", "not JSON: Extra data at column 4"),
        (b'{"a": NaN}', "not JSON: NaN"),
        (b'{"a": -Infinity}', "not JSON: -Infinity"),
        (b'{"a": -1e999}', "not JSON: -1e999 is beyond the range of numbers"),
        (b'{"a": 1, "b": 2, "b": 3}', 'the key "b" is there twice'),
        (b'{"a": {"x\\n": 1, "x\\n": 1}}', 'the key "x\\n" is there twice'),
    ],
)
def test_what_a_line_of_json_holds(make: Make, line: bytes, expected: Any) -> None:
    """One object; anything else says what it is, and the next line is read."""
    assert [expected, {"next": 1}] == fields(make(line + b'\n{"next": 1}', format="jsonl"))


@pytest.mark.parametrize("value", [b"[" * 200_000, b"1" * 5000])
def test_json_that_python_cannot_read_is_a_bad_record(make: Make, value: bytes) -> None:
    """Brackets within brackets, or digits by the thousand, do not end the run."""
    bad, good = make(b'{"a": ' + value + b"}\n{}\n", format="jsonl")

    assert bad.problem
    assert bad.fields is None
    assert {} == good.fields


def test_lines_of_json_know_where_they_stood(make: Make, tmp_path: Path) -> None:
    """A BOM, a CR and blank lines are no part of them."""
    source = make(b'\xef\xbb\xbf{"a":1}\r\n \n{"a":2}', format="jsonl")

    assert [
        Record(b'{"a":1}', str(tmp_path / "0"), 1, "", {"a": 1}),
        Record(b'{"a":2}', str(tmp_path / "0"), 3, "", {"a": 2}),
    ] == list(source)


@pytest.mark.parametrize("format", FORMATS)
def test_blank_lines_and_crs_are_counted(make: Make, format: Format) -> None:  # noqa: A002
    """Once, also if the names were read before."""
    content = b"\n\n{}\n\n" if format == "jsonl" else b"\n\na\n\n"
    plain = make(content, format=format)
    plain.names()
    list(plain)
    dos = make(content.replace(b"\n", b"\r\n"), format=format)
    list(dos)

    assert (3, False) == (plain.blank, plain.has_cr)
    assert (3, True) == (dos.blank, dos.has_cr)


@pytest.mark.parametrize(
    ("contents", "expected"),
    [
        ([b""], ()),
        ([b"\n"], ()),
        ([b"b,a\n1,2\n"], ("b", "a")),
        ([b'"b\nc",a'], ("b\nc", "a")),
        ([b"c,b,a\n", b"x,a,c\n"], ("c", "a")),
        ([b"a\n", b"b\n", b"a\n"], ()),
        ([b"", b"b,a\n", b""], ("b", "a")),
    ],
)
def test_the_names_are_those_that_all_headers_have(
    make: Make, contents: list[bytes], expected: tuple[str, ...]
) -> None:
    """In the first one's order; a file without a record has no say."""
    assert expected == make(*contents).names()


def test_lines_of_json_have_no_names_beforehand(make: Make) -> None:
    """None, which is not the same as no names."""
    assert make(b'{"a": 1}\n', format="jsonl").names() is None


BAD_HEADERS = [
    (b"a,,b\n", "line 1: column 2 of the header has no name"),
    (b"\na, \n", "line 2: column 2 of the header has no name"),
    (b"a,b,a\n", 'line 1: the header has the name "a" twice'),
    (b'"x\n","x\n"\n', 'line 1: the header has the name "x\\n" twice'),
    (b'"a"b\n', """line 1: the header is bad: not CSV: ',' expected after '"'"""),
    (b'a,"b\n', "line 1: the header is bad: a quote is open at the end of the file"),
    (b" " * (MOST_BYTES + 1), f"line 1: the header is bad: {TOO_LONG}"),
]


@pytest.mark.parametrize(("content", "problem"), BAD_HEADERS)
def test_a_bad_header_is_refused_before_the_run(
    make: Make, tmp_path: Path, content: bytes, problem: str
) -> None:
    """One line, with the file and the rule, also if it is not the first."""
    with pytest.raises(UsageError) as caught:
        make(b"a\n", content).names()

    assert f"-i {tmp_path / '1'}: {problem}" == str(caught.value)


@pytest.mark.parametrize(("content", "problem"), BAD_HEADERS)
def test_a_bad_header_that_is_seen_only_in_the_run_ends_the_source(
    make: Make, tmp_path: Path, content: bytes, problem: str
) -> None:
    """No field has a sure name; what came before is there."""
    records = iter(make(b"a\n1\n", content))

    assert b"1" == next(records).raw
    with pytest.raises(SourceError) as caught:
        next(records)
    assert f"{tmp_path / '1'}: {problem}" == str(caught.value)


@pytest.mark.parametrize("format", FORMATS)
def test_a_record_comes_before_the_input_ends(stdin: int, stop: Stop, format: Format) -> None:  # noqa: A002
    """As soon as its line has ended, also after the names were read; a stop ends the wait for the next."""
    os.write(stdin, b'{"a":1}\n{' if format == "jsonl" else b"\na\n1\n2")
    source = TableSource(["-"], stop, format=format)
    source.names()
    records = iter(source)

    assert [{"a": 1}, {"a": "1"}][format != "jsonl"] == next(records).fields
    stop.set()
    with pytest.raises(SourceStopped):
        next(records)
    os.close(stdin)


def test_what_the_names_took_from_pipes_is_not_lost(stdin: int, stop: Stop, tmp_path: Path) -> None:
    """Standard input, there twice, and a FIFO, which cannot be opened again; lines and blank ones count on."""
    fifo = str(tmp_path / "fifo")
    os.mkfifo(fifo)
    fd = os.open(fifo, os.O_RDWR)
    os.write(fd, b"b,a\n3,4\n")
    os.write(stdin, b"\na,b\n1,2\n")
    os.close(stdin)
    source = TableSource(["-", fifo, "-"], stop, format="csv")

    assert ("a", "b") == source.names()
    assert [("-", 3, {"a": "1", "b": "2"}), (fifo, 2, {"b": "3", "a": "4"})] == [
        (record.source, record.line, record.fields) for record in islice(source, 2)
    ]
    assert 1 == source.blank
    os.close(fd)


def test_files_are_never_all_open(make: Make) -> None:
    """One at a time, for the names and for the records; in the end none."""
    before = open_fds()
    source = make(*[b"a\n1\n"] * 5)
    source.names()
    named = open_fds()
    during = [open_fds() for _ in source]
    after = open_fds()

    assert (before + 2, [before + 3] * 5, before + 1) == (named, during, after)  # `stop` holds the last one


def test_the_largest_field_fits(make: Make) -> None:
    """The csv module would refuse a field over 128 KiB."""
    before = csv.field_size_limit(1 << 17)
    try:
        (record,) = make(b'a\n"%s"\n' % (b"x" * (MOST_BYTES - 2)))
    finally:
        csv.field_size_limit(max(before, MOST_BYTES))

    assert "" == record.problem


def test_a_pipe_whose_turn_never_came_is_closed(stdin: int, stop: Stop, tmp_path: Path) -> None:
    """It was opened for its header; a source that is left before it lets go of it."""
    os.write(stdin, b"a\n")
    (tmp_path / "first").write_bytes(b"a\n1\n")
    before = open_fds()
    source = TableSource([str(tmp_path / "first"), "-"], stop, format="csv")
    source.names()
    records = iter(source)
    next(records)
    del records

    assert before + 1 == open_fds()  # `stop` holds the last one
    os.close(stdin)


@pytest.mark.parametrize("brackets", [(b"[", b"]"), (b'{"a":', b"}")], ids=["arrays", "objects"])
@pytest.mark.parametrize(("levels", "is_good"), [(249, True), (250, False), (950, False), (150_000, False)])
def test_what_is_nested_too_deeply_is_a_bad_record(
    make: Make, brackets: tuple[bytes, bytes], levels: int, is_good: bool
) -> None:
    """Whoever shows it needs as much of the stack again as reading it did, wherever in the program that is."""
    value = brackets[0] * levels + (b"" if brackets[1] == b"]" else b"1") + brackets[1] * levels
    first, second = make(b'{"x":' + value + b'}\n{"x":1}', format="jsonl")

    assert ("" if is_good else "it is nested more than 250 levels deep") == first.problem
    assert is_good == (first.fields is not None)
    assert {"x": 1} == second.fields


def test_many_brackets_beside_each_other_are_not_nested(make: Make) -> None:
    """They are counted only where there are more than a nested record may have."""
    (record,) = make(b'{"x":[' + b"[]," * 999 + b'"[[[{{{"]}', format="jsonl")

    assert 1000 == len((record.fields or {})["x"])
