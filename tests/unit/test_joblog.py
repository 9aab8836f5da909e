"""The job log, in the columns of GNU parallel."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest
from dynamic_pipeline.attempts import Outcome
from dynamic_pipeline.errors import OutputError
from dynamic_pipeline.events import Draining, Event
from dynamic_pipeline.sinks import files
from dynamic_pipeline.sinks.files import CompleteFile, GrowingFile
from dynamic_pipeline.sinks.joblog import JobLogSink
from dynamic_pipeline.stats import Stats
from dynamic_pipeline.templates import display
from dynamic_pipeline.views.joblog import HEADER, joblog_row

from tests.doubles import Spawned
from tests.ended import describe, failed, job, report, retrying, succeeded, unfinished


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "jobs.tsv")


def write(path: str, *events: Event, is_command: bool = True) -> list[str]:
    """Open the log, tell it of *events*, close it; its lines."""
    sink = JobLogSink(GrowingFile.open("--joblog", path, HEADER), describe, is_command=is_command)
    sink.emit(events, Stats())
    sink.close()
    return Path(path).read_text().splitlines()


def test_a_row_has_the_nine_columns(path: str) -> None:
    """Number, host, start, time it took, nothing sent, bytes of output, exit, signal, command."""
    row = write(path, succeeded(value=report(stdout=b"123", stderr=b"45")))

    assert [
        "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand",
        "17\t:\t1700000000.250\t     0.125\t0\t5\t0\t0\twork b'in/a' 17 2",
    ] == row


@pytest.mark.parametrize(
    ("outcome", "exit_and_signal"),
    [
        (failed("exit 3", value=report(3)), ("3", "0")),
        (failed("killed by signal 9 (SIGKILL)", value=report(-9)), ("0", "9")),
        (failed("timeout after 1 s", value=report(-15, is_timeout=True)), ("-1", "15")),
        (failed("timeout after 1 s", value=report(-9, is_timeout=True)), ("-1", "9")),
        (failed("timeout after 1 s", value=report(0, is_timeout=True)), ("-1", "15")),
        (failed("exit 127 (not found): x", value=report(127)), ("127", "0")),
        (failed("exit 126 (not executable): x", value=report(126)), ("126", "0")),
    ],
)
def test_how_a_command_ended_is_told_as_gnu_parallel_does(
    path: str, outcome: Event, exit_and_signal: tuple[str, str]
) -> None:
    """A signal is no exit value, and what took too long is -1 with the signal that ended it."""
    row = write(path, outcome)[-1].split("\t")

    assert exit_and_signal == (row[6], row[7])


def test_only_jobs_that_have_run_to_their_end_have_a_row(path: str) -> None:
    """Who resumes by such a file takes any row for done; a row stands for the last attempt."""
    lines = write(
        path,
        retrying("exit 1", job(1), report(1)),
        unfinished(job(2)),
        unfinished(job(3), report(-15), has_run=True),
        failed("bad record: it has no field 'a'", job(4)),
        Draining(3),
        succeeded(job(1), report(), attempt=2),
    )

    assert ["Seq", "1"] == [line.split("\t")[0] for line in lines]


def test_rows_stand_in_the_order_of_completion(path: str) -> None:
    """As they come, whatever their numbers."""
    lines = write(path, *(succeeded(job(number), report()) for number in (3, 1, 2)))

    assert ["3", "1", "2"] == [line.split("\t")[0] for line in lines[1:]]


def test_a_call_is_0_or_1_and_began_when_its_time_is_subtracted(path: str) -> None:
    """It has no exit code; a record that was not even given to the function has no row."""
    lines = write(
        path,
        succeeded(job(1), 5),
        failed("ValueError: x", job(2)),
        failed("bad record: not JSON", job(3, problem="not JSON")),
        is_command=False,
    )

    assert [("1", "0", "0"), ("2", "1", "0")] == [
        (row[0], row[6], row[7]) for row in (line.split("\t") for line in lines[1:])
    ]
    outcome: Outcome = failed("ValueError: x").outcome
    assert b"1\t:\t999.875\t     0.125\t0\t0\t1\t0\tf('x')\n" == joblog_row(1, outcome, "f('x')", 1000.0)


def test_a_command_of_any_bytes_is_one_line_without_a_nul() -> None:
    """A newline is written in quotes that the shell reads back; bytes that are no text stay as they are."""
    command = display([b"echo", b"a\nb\x00\x1b\t", b"\xff"])
    row = joblog_row(1, succeeded(value=report()).outcome, command, 0.0)

    assert (1, 0) == (row.count(b"\n"), row.count(b"\0"))
    assert row.endswith(b"\techo $'a\\012b\\000\\033\\011' '\xff'\n")


def test_a_second_run_appends_without_a_second_header(path: str) -> None:
    """What is there stays."""
    write(path, succeeded(job(1), report()))
    lines = write(path, succeeded(job(2), report()))

    assert ["Seq", "1", "2"] == [line.split("\t")[0] for line in lines]


def test_a_torn_last_row_does_not_spoil_the_next(path: str) -> None:
    """A run that was killed, or a full disk, leaves half a row: it gets its newline first."""
    Path(path).write_bytes(HEADER + b"1\t:\t17")

    assert ["Seq", "1", "17"] == [line.split("\t")[0] for line in write(path, succeeded(value=report()))]


def test_rows_go_to_the_end_whatever_others_have_written(path: str) -> None:
    """Two runs on one file lose nothing."""
    files = [GrowingFile.open("--joblog", path) for _ in range(2)]
    for number in range(4):
        files[number % 2].write(b"row %d\n" % number)
    for file in files:
        file.close()
        file.close()

    assert ["row 0", "row 1", "row 2", "row 3"] == Path(path).read_text().splitlines()


def test_a_file_that_cannot_be_opened_says_which(tmp_path: Path) -> None:
    """The option, the path, the reason."""
    with pytest.raises(OutputError) as caught:
        GrowingFile.open("--joblog a/b", str(tmp_path / "a" / "b"))

    assert "--joblog a/b cannot be written: No such file or directory" == str(caught.value)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_is_told_as_early_as_it_shows() -> None:
    """The header is the first that does not fit; without one it is the first row."""
    with pytest.raises(OutputError):
        GrowingFile.open("--joblog", "/dev/full", HEADER)
    file = GrowingFile.open("--joblog", "/dev/full")
    with pytest.raises(OutputError) as caught:
        file.write(b"x\n")
    file.close()

    assert ("--joblog cannot be written: No space left on device", False) == (
        str(caught.value),
        caught.value.reader_gone,
    )


@pytest.mark.parametrize("is_stdout", [True, False])
def test_only_a_reader_of_stdout_may_go_away(is_stdout: bool) -> None:
    """That has an exit code of its own; a pipe by another name is a file that cannot be written."""
    reader, writer = os.pipe()
    os.close(reader)
    file = GrowingFile("--results -", writer, is_stdout=is_stdout)
    with pytest.raises(OutputError) as caught:
        file.write(b"x\n")
    file.close()

    assert is_stdout is caught.value.reader_gone


def test_a_named_pipe_whose_reader_has_gone_does_not_stall_the_run(tmp_path: Path) -> None:
    """As of `--results >(jq …)`: we are no reader of it ourselves."""
    path = str(tmp_path / "pipe")
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    file = GrowingFile.open("--results", path)
    file.write(b"x\n")
    assert b"x\n" == os.read(reader, 10)
    os.close(reader)
    with pytest.raises(OutputError):
        file.write(b"x\n")
    file.close()


def test_a_complete_file_takes_its_name_at_the_end(tmp_path: Path) -> None:
    """Until then what was there stays, and afterwards nothing else is left."""
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    file = CompleteFile("--junit", str(tmp_path / "link"))
    file.write(b"___ new")
    assert ("old", True) == ((tmp_path / "real").read_text(), file.is_open)
    file.complete(b"the")
    file.discard()

    assert ("the new", False) == ((tmp_path / "real").read_text(), file.is_open)
    assert ["link", "real"] == sorted(path.name for path in tmp_path.iterdir())
    assert (tmp_path / "link").is_symlink()


def test_what_is_no_file_is_never_replaced(tmp_path: Path) -> None:
    """Neither one that is there at the start nor one that came since: it could be a device."""
    path = tmp_path / "pipe"
    file = CompleteFile("--junit", str(path))
    os.mkfifo(path)
    with pytest.raises(OutputError) as caught:
        file.complete()
    with pytest.raises(OutputError):
        CompleteFile("--junit", str(path))

    assert "--junit cannot be written: it is no file that could be replaced" == str(caught.value)
    assert [path] == list(tmp_path.iterdir())
    assert path.is_fifo()


def test_a_file_that_is_given_up_leaves_nothing(tmp_path: Path) -> None:
    """Neither under its name nor beside it."""
    file = CompleteFile("--junit", str(tmp_path / "r.xml"))
    file.write(b"half")
    file.discard()
    file.discard()

    assert [] == list(tmp_path.iterdir())


def test_a_pipe_that_nobody_reads_is_refused(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would hold the start for ever, before signals are heard."""
    monkeypatch.setattr(files, "_PATIENCE_S", 0.05)
    os.mkfifo(path)
    with pytest.raises(OutputError) as caught:
        GrowingFile.open("--joblog", path, HEADER)

    assert "--joblog cannot be written: it has no reader" == str(caught.value)


def test_a_pipe_whose_reader_comes_is_written_like_a_file(path: str) -> None:
    """Who starts both at once need not care which is first; a slow reader is waited for."""
    os.mkfifo(path)
    reader = Spawned(Path(path).read_bytes)
    file = GrowingFile.open("--joblog", path, HEADER)
    large = os.urandom(1 << 20)
    assert os.get_blocking(file._fd)
    file.write(large)
    file.close()

    assert HEADER + large == reader.result()


def test_a_file_that_another_program_holds_is_refused(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its lock is waited for only as long as another run would need it."""
    monkeypatch.setattr(files, "_PATIENCE_S", 0.05)
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    fcntl.flock(fd, fcntl.LOCK_EX)
    with pytest.raises(OutputError) as caught:
        GrowingFile.open("--joblog", path, HEADER)
    os.close(fd)

    assert "--joblog cannot be written: another program holds it" == str(caught.value)
    assert b"" == Path(path).read_bytes()


def test_a_command_that_cannot_be_shown_does_not_end_the_run(path: str) -> None:
    """The job has run, and its row says that there is no text of it."""

    def hostile(*_: object) -> str:
        raise RecursionError("too deep")

    sink = JobLogSink(GrowingFile.open("--joblog", path, HEADER), hostile, is_command=True)
    sink.emit([succeeded(value=report())], Stats())
    sink.close()

    assert "(it cannot be shown: RecursionError)" == Path(path).read_text().splitlines()[-1].split("\t")[8]


def test_a_command_with_a_character_that_has_no_bytes_is_escaped() -> None:
    """Half of a pair, or what the system's encoding does not have."""
    row = joblog_row(1, succeeded(value=report()).outcome, "work \ud800", 0.0)

    assert row.endswith(b"\twork \\ud800\n")
