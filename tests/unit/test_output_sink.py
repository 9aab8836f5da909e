"""The output of commands: whole per job, byte for byte."""

import os
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
from dynamic_pipeline.reports import CommandReport
from dynamic_pipeline.sinks.output import OutputSink
from dynamic_pipeline.spool import Spool
from dynamic_pipeline.stats import Stats

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
            with os.fdopen(os.dup(spool.open()), "wb") as file:
                file.write(content)
            spool.seal()
            spools.append(spool)
        return CommandReport(spools[0], spools[1], 1, 0.0, 0)

    return wrote


def ok(value: Any) -> Event:
    return JobSucceeded(ATTEMPT, Succeeded(value, 0.1, "worker-01"))


def failed(value: Any) -> Failed:
    return Failed("exit 3", 0.1, "worker-01", value=value)


def emit(*events: Event) -> None:
    sink = OutputSink()
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
