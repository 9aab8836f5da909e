"""The output of commands: whole per job, byte for byte."""

import os
import re
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from dynamic_pipeline.attempts import Attempt, Failed, Succeeded
from dynamic_pipeline.errors import OutputError
from dynamic_pipeline.events import (
    Draining,
    Event,
    JobFailed,
    JobRetrying,
    JobSucceeded,
    JobUnfinished,
    RunStarted,
)
from dynamic_pipeline.jobs import Job
from dynamic_pipeline.lead import Lead
from dynamic_pipeline.records import Record
from dynamic_pipeline.reports import CommandReport, LostOutput
from dynamic_pipeline.sinks.output import OutputSink, _tagged
from dynamic_pipeline.spool import Spool
from dynamic_pipeline.stats import Stats
from dynamic_pipeline.stop import Stop
from hypothesis import given
from hypothesis import strategies as st

from tests.doubles import Spawned

Wrote = Callable[..., CommandReport]
ATTEMPT = Attempt(Job(17, None), 1)
LARGE = os.urandom(3 << 20)


@pytest.fixture
def wrote(tmp_path: Path) -> Wrote:
    """What a command wrote, as its work hands it over."""

    def wrote(stdout: bytes, stderr: bytes = b"") -> CommandReport:
        spools: list[Spool] = []
        for content in (stdout, stderr):
            spool = Spool(str(tmp_path / f"{len(list(tmp_path.iterdir()))}.{len(spools)}"))
            Path(os.fsdecode(spool.hand_out())).write_bytes(content)
            spool.seal()
            spools.append(spool)
        return CommandReport(spools[0], spools[1], 1, 0.0, 0)

    return wrote


def drawn() -> Lead:
    """Of a source from which nine records were drawn."""
    lead = Lead(Stop())
    lead.order.extend(range(1, 10))
    return lead


def ok(value: Any, job_id: int = 17, record: Any = None) -> Event:
    return JobSucceeded(Attempt(Job(job_id, record), 1), Succeeded(value, 0.1, "worker-01"))


def failed(value: Any) -> Failed:
    return Failed("exit 3", 0.1, "worker-01", value=value)


def emit(*events: Event, **how: Any) -> None:
    sink = OutputSink(**how)
    sink.emit(events, Stats())
    sink.close()


def test_each_stream_goes_where_it_belongs(
    wrote: Wrote, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """Stdout to stdout, stderr to stderr, the jobs one after the other, large and small, and no file is left."""
    emit(ok(wrote(b"one\n\0", b"first\n")), ok(wrote(LARGE)), ok(wrote(b"\xff\n", b"third")))

    captured = capfdbinary.readouterr()
    assert b"one\n\0" + LARGE + b"\xff\n" == captured.out
    assert b"first\nthird" == captured.err
    assert [] == list(tmp_path.iterdir())


def test_only_the_last_attempt_is_shown(
    wrote: Wrote, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """What an attempt wrote that will be tried again is dropped, from the disk too."""
    emit(
        JobRetrying(ATTEMPT, failed(wrote(b"early", LARGE)), 3),
        JobFailed(ATTEMPT, failed(wrote(b"late", b"!"))),
    )

    assert (b"late", b"!") == tuple(capfdbinary.readouterr())
    assert [] == list(tmp_path.iterdir())


def test_a_job_that_was_cut_short_shows_what_it_wrote(
    wrote: Wrote, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """A forced stop does not swallow what is there."""
    emit(JobUnfinished(Job(17, None), failed(wrote(b"half", b"way"))))

    assert (b"half", b"way") == tuple(capfdbinary.readouterr())


def test_events_without_output_show_nothing(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """Jobs that never ran, and all that happens to the run."""
    emit(RunStarted(2), JobUnfinished(Job(1, None)), JobFailed(ATTEMPT, failed(None)), Draining(3))

    assert (b"", b"") == tuple(capfdbinary.readouterr())


@pytest.fixture
def redirect() -> Iterator[Callable[[int, int], None]]:
    """Puts a descriptor in the place of 1 or 2 until the test has ended."""
    before = [os.dup(fd) for fd in (1, 2)]

    def redirect(fd: int, to: int) -> None:
        os.dup2(to, fd)
        os.close(to)

    yield redirect
    for number, fd in enumerate(before, 1):
        os.dup2(fd, number)
        os.close(fd)


@pytest.mark.parametrize(
    ("fd", "text", "reader_gone"),
    [(1, "the reader of stdout has gone", True), (2, "the reader of stderr has gone", False)],
)
def test_a_reader_that_has_gone_ends_the_run(
    wrote: Wrote, redirect: Callable[[int, int], None], fd: int, text: str, reader_gone: bool
) -> None:
    """`| head` has seen enough; only for stdout is that the way to stop a pipeline."""
    reader, writer = os.pipe()
    os.close(reader)
    output = ok(wrote(b"x", b"x") if fd == 1 else wrote(b"", b"x"))
    redirect(fd, writer)

    with pytest.raises(OutputError) as caught:
        emit(output)

    assert (text, reader_gone) == (str(caught.value), caught.value.reader_gone)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize(("fd", "name"), [(1, "stdout"), (2, "stderr")])
def test_a_full_disk_ends_the_run(
    wrote: Wrote, redirect: Callable[[int, int], None], fd: int, name: str
) -> None:
    """The text names the stream and the reason: a result would be lost."""
    output = ok(wrote(b"x") if fd == 1 else wrote(b"", b"x"))
    redirect(fd, os.open("/dev/full", os.O_WRONLY))

    with pytest.raises(OutputError) as caught:
        emit(output)

    assert f"the jobs' output cannot be written to {name}: No space left on device" == str(caught.value)
    assert not caught.value.reader_gone


def test_a_slow_reader_gets_everything(wrote: Wrote, redirect: Callable[[int, int], None]) -> None:
    """A pipe takes less than a chunk at a time; the rest is written when there is room."""
    output = ok(wrote(LARGE))
    reader, writer = os.pipe()
    redirect(1, writer)

    def write() -> None:
        emit(output)
        os.close(1)

    writing = Spawned(write)
    with os.fdopen(reader, "rb") as file:
        received = file.read()
    writing.result()

    assert LARGE == received


class InOrder:
    """A sink that shows outputs in the order of the input, and what it released."""

    def __init__(self, **how: Any) -> None:
        self.lead = drawn()
        self.sink = OutputSink(lead=self.lead, **how)

    def emit(self, *events: Event) -> int:
        self.sink.emit(events, Stats())
        return self.lead.released


def test_in_order_an_output_waits_for_those_before_it(
    wrote: Wrote, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """It is shown when all earlier jobs have ended, and the source is told how many are out of the way."""
    line = InOrder()

    assert 0 == line.emit(ok(wrote(b"3"), 3), ok(wrote(b"2", b"b"), 2))
    assert (b"", b"") == tuple(capfdbinary.readouterr())
    assert 3 == line.emit(ok(wrote(b"1", b"a"), 1))
    assert (b"123", b"ab") == tuple(capfdbinary.readouterr())
    assert 4 == line.emit(ok(wrote(b"4"), 4))
    assert (b"4", b"") == tuple(capfdbinary.readouterr())


def test_in_order_the_last_attempt_is_shown_at_its_place(
    wrote: Wrote, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """A retry does not end a job: those behind it wait on, and nothing of the earlier attempt is shown."""
    line = InOrder()
    again = JobRetrying(Attempt(Job(1, None), 1), failed(wrote(b"early")), 3)

    assert 0 == line.emit(again, ok(wrote(b"2"), 2))
    assert 2 == line.emit(JobFailed(Attempt(Job(1, None), 2), failed(wrote(b"late"))))
    assert b"late2" == capfdbinary.readouterr().out
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "first", [JobUnfinished(Job(1, None)), JobFailed(Attempt(Job(1, None), 1), failed(None))]
)
def test_in_order_a_job_without_output_holds_nobody(
    wrote: Wrote, capfdbinary: pytest.CaptureFixture[bytes], first: Event
) -> None:
    """It was never run, or it could not be: the others go on."""
    line = InOrder()

    assert 2 == line.emit(ok(wrote(b"2"), 2), first)
    assert b"2" == capfdbinary.readouterr().out


def test_in_order_the_end_shows_all_that_is_left(
    wrote: Wrote, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """Should a run end without a word of some job, no finished output is lost, and the order holds."""
    line = InOrder()
    line.emit(ok(wrote(b"5"), 5), ok(wrote(b"3"), 3))
    line.sink.close()

    assert b"35" == capfdbinary.readouterr().out


def test_in_order_nothing_is_shown_behind_a_gap(wrote: Wrote) -> None:
    """After an output that could not be put, closing tries no other."""
    tried: list[int] = []

    def put(output: Any) -> None:
        tried.append(output.job_id)
        raise OutputError("full", reader_gone=False)

    line = InOrder(put=put)
    with pytest.raises(OutputError):
        line.emit(ok(wrote(b"2"), 2), ok(wrote(b"3"), 3), ok(wrote(b"1"), 1))
    line.sink.close()

    assert [1] == tried


@pytest.mark.parametrize(("lead", "shown"), [(None, b"31"), (drawn(), b"13")])
def test_quiet_shows_only_what_failed_for_good(
    wrote: Wrote, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes], lead: Lead | None, shown: bytes
) -> None:
    """What others wrote is dropped from the disk too, and holds nobody's place."""
    emit(
        JobFailed(Attempt(Job(3, None), 4), failed(wrote(b"3"))),
        ok(wrote(LARGE, LARGE), 2),
        JobFailed(Attempt(Job(1, None), 4), failed(wrote(b"1"))),
        JobUnfinished(Job(4, None), failed(wrote(b"4"))),
        only_failed=True,
        lead=lead,
    )

    assert (shown, b"") == tuple(capfdbinary.readouterr())
    assert [] == list(tmp_path.iterdir())


def record(raw: bytes) -> Record:
    return Record(raw, "-", 1)


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        (b"plain", "plain"),
        (b"a\tb\x1b[2J\xff", r"a\tb\x1b[2J\xff"),
        (b"x" * 60, "x" * 60),
        (b"x" * 61, "x" * 59 + "…"),
        (b"\x00" * 40, r"\x00" * 14 + r"\x0" + "…"),
    ],
)
def test_a_tag_is_the_record_on_one_line(
    wrote: Wrote, capfdbinary: pytest.CaptureFixture[bytes], text: bytes, tag: str
) -> None:
    """Escaped, so that it holds no TAB and no newline; at most 60 characters; a TAB ends it."""
    emit(ok(wrote(b"1\n\n2", b"e\n"), record=record(text)), is_tagged=True)

    begin = f"{tag}\t".encode()
    assert b"%s1\n%s\n%s2" % (begin, begin, begin) + b"|" + b"%se\n" % begin == b"|".join(
        capfdbinary.readouterr()
    )


def test_a_tag_goes_with_the_order(wrote: Wrote, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """Each output has the tag of its own record, however long it waited."""
    emit(
        ok(wrote(b"2\n"), 2, record(b"b")),
        ok(wrote(b"1\n"), 1, record(b"a")),
        is_tagged=True,
        lead=drawn(),
    )

    assert b"a\t1\nb\t2\n" == capfdbinary.readouterr().out


@given(st.lists(st.sampled_from([b"\n", b"x", b"\r", b"xy\n", b"\xff" * 3]), max_size=8), st.integers(1, 5))
def test_a_tag_changes_no_byte_of_the_output(parts: list[bytes], size: int) -> None:
    """Wherever the pieces are cut: without the tags it is what the command wrote, and each line has one."""
    content = b"".join(parts)
    pieces = (content[at : at + size] for at in range(0, len(content), size))
    tagged = b"".join(_tagged(pieces, b"T\t"))

    assert re.sub(rb"(?m)^(?=[\s\S])", b"T\\t", content) == tagged


@pytest.mark.parametrize("content", [b"x" * (3 << 20), b"\n" * (1 << 20)], ids=["one line", "only newlines"])
def test_tags_need_no_memory(wrote: Wrote, redirect: Callable[[int, int], None], content: bytes) -> None:
    """A line longer than all pieces, or a tag at every byte: what is held at once stays a few megabytes."""
    output = ok(wrote(content), record=record(b"r" * 60))
    redirect(1, os.open(os.devnull, os.O_WRONLY))
    tracemalloc.start()
    try:
        emit(output, is_tagged=True)
        assert tracemalloc.get_traced_memory()[1] < 12 << 20
    finally:
        tracemalloc.stop()


def test_in_order_means_as_they_were_drawn(wrote: Wrote, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """A resumed run draws what is left, in the order of today's input: not that of the numbers, and with gaps."""
    lead = Lead(Stop())
    lead.order.extend([7, 2, 5])
    sink = OutputSink(lead=lead)
    for number in (5, 2, 7):
        end = JobSucceeded(
            Attempt(Job(number, None), 1), Succeeded(wrote(b"%d\n" % number), 0.1, "worker-01")
        )
        sink.emit([end], Stats())

    assert b"7\n2\n5\n" == capfdbinary.readouterr().out
    assert 3 == lead.released


def test_an_output_that_was_lost_ends_the_run(
    wrote: Wrote, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """Nobody can say any more what the job wrote; what others wrote is shown before that is told."""
    lost = JobFailed(ATTEMPT, failed(LostOutput("/tmp/x has been removed")))
    with pytest.raises(OutputError) as caught:
        emit(lost, ok(wrote(b"kept"), 18))

    assert ("the jobs' output cannot be written: /tmp/x has been removed", False) == (
        str(caught.value),
        caught.value.reader_gone,
    )
    assert b"kept" == capfdbinary.readouterr().out
