"""Records from files and pipes: one per line, as bytes."""

import os
import socket
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest
from dynamic_pipeline.errors import SourceError, SourceStopped, UsageError
from dynamic_pipeline.journal.operations import InputMark
from dynamic_pipeline.records import MOST_BYTES, Record
from dynamic_pipeline.sources import lines as module
from dynamic_pipeline.sources.lines import LineSource, _split
from dynamic_pipeline.stop import Stop
from hypothesis import given
from hypothesis import strategies as st

from tests.doubles import Spawned, wait_until

Read = Callable[..., list[Record]]


def open_fds() -> int:
    return sum(1 for _ in Path("/dev/fd").iterdir())


def drawn(*paths: str) -> list[Record]:
    stop = Stop()
    try:
        return list(LineSource(paths, stop))
    finally:
        stop.set()


def raws(path: Path, content: bytes) -> list[bytes]:
    path.write_bytes(content)
    return [record.raw for record in drawn(str(path))]


@pytest.fixture
def stdin() -> Iterator[Callable[[int], None]]:
    """Puts a descriptor in the place of standard input until the test has ended."""
    before = os.dup(0)

    def replace(fd: int) -> None:
        os.dup2(fd, 0)

    yield replace
    os.dup2(before, 0)
    os.close(before)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", []),
        (b"a\nb\n", [b"a", b"b"]),
        (b"a\nb", [b"a", b"b"]),
        (b"a\r\nb\r\n", [b"a", b"b"]),
        (b"a\r\r\nb\rc\n", [b"a\r", b"b\rc"]),
        (b"\n\n a \n\t \n\r\n\nb\n\n", [b" a ", b"b"]),
        (b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n", [b"a", b"\xef\xbb\xbfb"]),
        (b"\xef\xbb\xbf", []),
        (b"\xef\xbb\xbf\r\na", [b"a"]),
        (b"\xff\xfe \x00 x\n", [b"\xff\xfe \x00 x"]),
        ("日本\u2028x\x85y\x0bz\x0cw\n".encode(), ["日本\u2028x\x85y\x0bz\x0cw".encode()]),
    ],
)
def test_only_a_newline_ends_a_record(tmp_path: Path, content: bytes, expected: list[bytes]) -> None:
    """CR before it, a BOM at the start and blank lines are dropped; all other bytes are the user's."""
    assert expected == raws(tmp_path / "in.txt", content)


def test_a_record_knows_where_it_stood(tmp_path: Path) -> None:
    """The file as it was given and the line's number, blank lines counted; each file begins at 1, with its own BOM."""
    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    Path(one).write_bytes(b"a\n\nb")
    Path(two).write_bytes(b"\xef\xbb\xbfc\n")

    assert [Record(b"a", one, 1), Record(b"b", one, 3), Record(b"c", two, 1)] == drawn(one, two)


def test_bytes_that_are_no_text_survive_the_way_through_text() -> None:
    """What is decoded for a function can be encoded back to the bytes of the input."""
    record = Record(b"caf\xe9 \xff", "in", 1)

    assert b"caf\xe9 \xff" == str(record).encode("utf-8", "surrogateescape")


@given(st.lists(st.binary(max_size=8) | st.sampled_from([b"\n", b"a\n", b"abcdefgh", b"\r\n"]), max_size=30))
def test_chunks_do_not_matter(chunks: list[bytes]) -> None:
    """However the bytes arrive, the lines are those of the whole, each cut at the limit."""
    limit = 8
    *ended, last = b"".join(chunks).split(b"\n")
    whole = ended + [last] * bool(last)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MOST_BYTES", limit)
        split = list(_split(iter(chunks)))

    assert [(line[:limit], len(line) <= limit) for line in whole] == split


@pytest.mark.parametrize(("size", "is_good"), [(MOST_BYTES, True), (MOST_BYTES + 1, False), (3 << 20, False)])
def test_a_line_over_a_mebibyte_is_a_bad_record(tmp_path: Path, size: int, is_good: bool) -> None:
    """It is cut and says why; the line after it is whole again."""
    path = tmp_path / "in.txt"
    path.write_bytes(b"x" * size + b"\nnext\n")

    long, following = drawn(str(path))

    assert min(size, MOST_BYTES) == len(long.raw)
    assert ("" if is_good else f"the line is longer than {MOST_BYTES} bytes") == long.problem
    assert (b"next", 2, "") == (following.raw, following.line, following.problem)


def test_an_endless_line_costs_bounded_memory(tmp_path: Path) -> None:
    """A file of 64 MiB without a newline is one bad record, read with a few MiB."""
    path = tmp_path / "in.txt"
    with path.open("wb") as file:
        file.truncate(64 << 20)
    tracemalloc.start()
    try:
        (record,) = drawn(str(path))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert record.problem
    assert peak < 8 << 20


def test_nothing_is_read_before_it_is_asked_for(tmp_path: Path) -> None:
    """A second file is opened when the first has ended: it may still grow until then."""
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"a\n")
    two.write_bytes(b"")
    stop = Stop()
    records = iter(LineSource([str(one), str(two)], stop))
    first = next(records)
    two.write_bytes(b"late\n")

    assert [b"a", b"late"] == [first.raw, *(record.raw for record in records)]
    stop.set()


@pytest.mark.parametrize(
    ("name", "text", "hint"),
    [
        ("nope.txt", "-i nope.txt: No such file or directory", ""),
        ("folder", "-i folder: is a directory", "find folder -type f | … -i - gives its files"),
        ("file/x", "-i file/x: Not a directory", ""),
    ],
)
def test_an_input_that_cannot_be_read_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str, hint: str
) -> None:
    """Before the first job, with the option, the path and the reason, also when it is not the first input."""
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("file").touch()

    with pytest.raises(UsageError) as caught:
        LineSource(["file", name], Stop())

    assert (text, hint) == (str(caught.value), caught.value.hint)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_input_without_permission_is_refused_at_once(tmp_path: Path) -> None:
    """Before the first job, not when its turn comes."""
    path = tmp_path / "in.txt"
    path.touch(0o000)

    with pytest.raises(UsageError, match="Permission denied"):
        LineSource([str(path)], Stop())


def test_standard_input_that_is_closed_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python has no `sys.stdin` then."""
    monkeypatch.setattr("sys.stdin", None)

    with pytest.raises(UsageError, match="standard input is closed"):
        LineSource(["-"], Stop())


def test_an_input_that_goes_away_is_an_error_that_names_it(tmp_path: Path) -> None:
    """What was there when the run began and is not when its turn comes cuts the source short."""
    path = tmp_path / "in.txt"
    path.touch()
    stop = Stop()
    source = LineSource([str(path)], stop)
    path.unlink()

    with pytest.raises(SourceError, match=f"{path}: cannot be read to its end: No such file or directory"):
        list(source)
    stop.set()


def test_an_error_while_reading_comes_after_what_was_read(stdin: Callable[[int], None]) -> None:
    """A connection that breaks gives its whole lines first."""
    ours, theirs = socket.socketpair()
    stdin(ours.fileno())
    ours.close()
    stop = Stop()
    records = iter(LineSource(["-"], stop))
    with theirs:
        theirs.sendall(b"a\nb")
        first = next(records)
        os.write(0, b"never read")  # closing with unread bytes resets the connection

    assert b"a" == first.raw
    with pytest.raises(SourceError, match=r"^-: cannot be read to its end: Connection reset by peer$"):
        next(records)
    stop.set()


def test_a_pipe_is_read_as_it_comes(stdin: Callable[[int], None]) -> None:
    """The first record of standard input is there while the writer still writes."""
    reader, writer = os.pipe()
    stdin(reader)
    os.close(reader)
    stop = Stop()
    records = iter(LineSource(["-"], stop))
    os.write(writer, b"a\nb")
    first = next(records)
    os.write(writer, b"c\n")
    second = next(records)
    os.close(writer)

    assert [Record(b"a", "-", 1), Record(b"bc", "-", 2)] == [first, second]
    assert [] == list(records)
    stop.set()


def test_our_copy_of_standard_input_is_closed_and_the_original_is_not(stdin: Callable[[int], None]) -> None:
    """Reading `-` to its end leaves descriptor 0 open for whoever comes next."""
    reader, writer = os.pipe()
    stdin(reader)
    os.close(reader)
    os.close(writer)

    assert [] == drawn("-")
    assert b"" == os.read(0, 1)


def first_of(source: LineSource) -> Record:
    return next(iter(source))


@pytest.mark.parametrize("has_writer", [False, True])
def test_a_source_that_waits_for_a_pipe_gives_up_when_told_to_stop(tmp_path: Path, has_writer: bool) -> None:
    """A FIFO without a writer, or with one that does not write, never holds up Ctrl+C."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    stop = Stop()
    before = open_fds()
    source = LineSource([str(path)], stop)
    drawing = Spawned(lambda: first_of(source))
    writer: BinaryIO | None = path.open("wb") if has_writer else None  # opens when there is a reader
    wait_until(lambda: open_fds() >= before + 3 + has_writer)  # the pipe's two ends, the FIFO, its writer
    stop.set()

    with pytest.raises(SourceStopped):
        drawing.result()
    if writer is not None:
        writer.close()


def test_a_stop_that_came_first_ends_a_pipe_without_a_record(tmp_path: Path) -> None:
    """Nothing is drawn after the stop, whatever waits in the pipe."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    fd = os.open(path, os.O_RDWR)
    os.write(fd, b"a\n")
    stop = Stop()
    source = LineSource([str(path)], stop)
    stop.set()

    with pytest.raises(SourceStopped):
        first_of(source)
    os.close(fd)


def test_a_source_leaves_no_descriptor_open(tmp_path: Path) -> None:
    """Read to the end, or left in the middle, everything that it opened is closed."""
    path = tmp_path / "in.txt"
    path.write_bytes(b"a\nb\n")
    before = open_fds()
    drawn(str(path), str(path))
    stop = Stop()
    records = iter(LineSource([str(path)], stop))
    next(records)
    stop.set()
    del records

    assert before == open_fds()


def test_nul_separates_records_that_may_hold_anything(tmp_path: Path) -> None:
    """No CR, BOM, newline or white space is dropped; only what is empty is skipped, and counted."""
    path = tmp_path / "in.txt"
    path.write_bytes(b"\xef\xbb\xbfa\r\0\0 \0\n\r\0\0b\nc")
    stop = Stop()
    source = LineSource([str(path)], stop, separator=b"\0")
    records = [(record.line, record.raw) for record in source]
    stop.set()

    assert [(1, b"\xef\xbb\xbfa\r"), (3, b" "), (4, b"\n\r"), (6, b"b\nc")] == records
    assert (2, False) == (source.blank, source.has_cr)


def test_a_record_between_nuls_has_the_same_limit(tmp_path: Path) -> None:
    """A mebibyte, newlines and all."""
    path = tmp_path / "in.txt"
    path.write_bytes(b"\n" * (MOST_BYTES + 1) + b"\0next")
    stop = Stop()
    long, following = LineSource([str(path)], stop, separator=b"\0")
    stop.set()

    assert f"the record is longer than {MOST_BYTES} bytes" == long.problem
    assert (b"next", 2) == (following.raw, following.line)


@pytest.mark.parametrize(
    ("content", "blank", "has_cr"),
    [(b"a\nb", 0, False), (b"\n \na\rb\n\n", 3, False), (b"a\r\n", 0, True), (b"a\n\r\n", 1, True)],
)
def test_what_was_dropped_is_counted(tmp_path: Path, content: bytes, blank: int, has_cr: bool) -> None:
    """Blank lines, and whether a CR was dropped, are there for a warning after the run."""
    path = tmp_path / "in.txt"
    path.write_bytes(content)
    stop = Stop()
    source = LineSource([str(path)], stop)
    list(source)
    stop.set()

    assert (blank, has_cr) == (source.blank, source.has_cr)


# ── marks: reading on where an earlier run was ──────────────────────────────────────────────────────


def marked(*paths: Path, known: InputMark | None = None) -> tuple[bool, list[Record], list[InputMark]]:
    """Whether it began behind *known*, what it gave, and all marks that it had."""
    stop = Stop()
    try:
        source = LineSource([str(path) for path in paths], stop)
        is_known, given, marks = source.keep_mark(known), [], []
        for record in source:
            if source.mark is not None and source.mark not in marks:
                marks.append(source.mark)
            given.append(record)
        if source.mark is not None and source.mark not in marks:
            marks.append(source.mark)
        return is_known, given, marks
    finally:
        stop.set()


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHUNK", 7)


TEXTS = (
    (b"\xef\xbb\xbfone\r\n\n\ntwo\nthree and more\n4\n",),
    (b"a\nb", b"c\n", b"", b"d\ne\n"),
    (b"no end",),
    (b"\n" * 20,),
)


@pytest.mark.parametrize("texts", TEXTS)
@pytest.mark.usefixtures("small_chunks")
def test_from_each_mark_the_rest_is_read_as_it_would_have_been(
    tmp_path: Path, texts: tuple[bytes, ...]
) -> None:
    """The same records with the same line numbers, and the same marks; nothing twice, nothing missing."""
    paths = [tmp_path / f"{number}" for number in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_bytes(text)
    _, all_of_it, marks = marked(*paths)
    fds = open_fds()

    for at, mark in enumerate(marks):
        is_known, rest, later = marked(*paths, known=mark)
        assert is_known
        assert rest == all_of_it[len(all_of_it) - len(rest) :]
        # What stands before the mark is what a reader stops at who has only those bytes.
        before = sum(
            1
            for record in all_of_it
            if (paths.index(Path(record.source)), record.line) <= (mark.source, mark.line)
        )
        assert before == len(all_of_it) - len(rest)
        assert marks[at:] == later
    assert fds == open_fds()
    assert bool(marks) == any(b"\n" in text for text in texts)


@pytest.mark.parametrize(
    "texts",
    [
        (b"a\nX\nc\n", b"d\n"),  # edited
        (b"a\nb\n", b"d\n"),  # shorter
        (b"a\n", b"b\nc\nd\n"),  # the same bytes, cut elsewhere
        (b"a\nb\nc\nd\n",),  # one file
        (b"a\nb\nc\n",),
        (b"", b""),
    ],
)
def test_an_input_that_is_not_what_it_was_is_read_from_its_beginning(
    tmp_path: Path, texts: tuple[bytes, ...]
) -> None:
    """Whatever differs before the mark."""
    for name, text in (("x", b"a\nb\nc\n"), ("y", b"d\n")):
        (tmp_path / name).write_bytes(text)
    known = marked(tmp_path / "x", tmp_path / "y")[2][-1]
    paths = [tmp_path / f"{number}" for number in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_bytes(text)
    fds = open_fds()
    is_known, given, _ = marked(*paths, known=known)

    assert not is_known
    assert [line for text in texts for line in text.split()] == [record.raw for record in given]
    assert fds == open_fds()


def test_what_is_behind_a_mark_may_grow(tmp_path: Path) -> None:
    """Only what was added is given."""
    path = tmp_path / "in"
    path.write_bytes(b"a\nb\n")
    known = marked(path)[2][-1]
    path.write_bytes(b"a\nb\nc\n")

    assert (True, [Record(b"c", str(path), 3)]) == marked(path, known=known)[:2]


def test_a_last_line_without_newline_has_no_mark_behind_it(tmp_path: Path) -> None:
    """More of it may come."""
    path = tmp_path / "in"
    path.write_bytes(b"a\nb")
    known = marked(path)[2][-1]
    path.write_bytes(b"a\nbc\n")

    assert (0, 2, 1) == known[:3]
    assert [Record(b"bc", str(path), 2)] == marked(path, known=known)[1]


@pytest.mark.parametrize("separator", [b"\0"])
def test_other_rules_of_reading_are_another_input(tmp_path: Path, separator: bytes) -> None:
    """The same bytes are other records."""
    path = tmp_path / "in"
    path.write_bytes(b"a\n\0b\n\0")
    known = marked(path)[2][-1]
    stop = Stop()
    source = LineSource([str(path)], stop, separator=separator)

    assert not source.keep_mark(known._replace(offset=6))
    assert [b"a\n", b"b\n"] == [record.raw for record in source]
    stop.set()


def test_pipes_have_no_marks() -> None:
    """Nobody can read them again."""
    reading, writing = os.pipe()
    os.write(writing, b"a\n")
    os.close(writing)
    is_known, given, marks = marked(Path(f"/dev/fd/{reading}"))
    os.close(reading)

    assert (False, [b"a"], []) == (is_known, [record.raw for record in given], marks)


def test_where_one_file_ends_matters_to_the_mark(tmp_path: Path) -> None:
    """The same bytes one after the other are other records where a file without a last newline ends elsewhere."""
    paths = [tmp_path / name for name in "xyz"]
    for path, text in zip(paths, (b"a", b"b\n", b"d\n"), strict=True):
        path.write_bytes(text)
    known = marked(*paths)[2][-1]
    for path, text in zip(paths, (b"", b"ab\n", b"d\n"), strict=True):
        path.write_bytes(text)
    is_known, given, _ = marked(*paths, known=known)

    assert (False, [b"ab", b"d"]) == (is_known, [record.raw for record in given])
