"""The log: loguru's records, to every target, one write per batch."""

import json
import os
import select
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from dynamic_pipeline.attempts import Attempt, Failed, Succeeded
from dynamic_pipeline.events import Draining, Event, JobFailed, JobSucceeded
from dynamic_pipeline.jobs import Job
from dynamic_pipeline.sinks.log import LogSink, LogTarget
from dynamic_pipeline.stats import Stats
from freezegun import freeze_time
from loguru import logger

from tests.doubles import Spawned, wait_until

HANDLED = JobSucceeded(Attempt(Job(18, None), 1), Succeeded(None, 2.0, "worker-01"))
LINES = 500  # of each job that logs
FROZEN = "2025/08/13 10:00:00.000123"
at_ten = freeze_time("2025-08-13 10:00:00.000123")


def failed(error: str) -> JobFailed:
    return JobFailed(Attempt(Job(17, None), 4), Failed(error, 0.5, "worker-01"))


@pytest.fixture(autouse=True)
def no_handlers() -> Iterator[None]:
    """What a test adds to loguru is removed."""
    logger.remove()
    yield
    logger.remove()


class Log:
    """A sink with one file, and what stands in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.target = LogTarget.open_file(str(path))
        self.sink = LogSink([self.target])

    def emit(self, *events: Event) -> None:
        self.sink.emit(events, Stats())

    def lines(self) -> list[str]:
        text = self.path.read_text(encoding="utf-8")
        assert text == "" or text.endswith("\n")
        return text.split("\n")[:-1]

    def texts(self) -> list[str]:
        """The lines without their stamps."""
        return [line.split(" ", 2)[2] for line in self.lines()]

    def objects(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines()]


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    log = Log(tmp_path / "pipeline.log")
    yield log
    log.sink.close()
    with suppress(OSError):
        os.close(log.target._fd)


@pytest.fixture
def dead() -> Iterator[LogTarget]:
    """A pipe whose reader has gone, as after `| head`."""
    reader, writer = os.pipe()
    os.close(reader)
    yield LogTarget("stdout", writer)
    os.close(writer)


@at_ten
def test_a_line_is_the_wall_clock_and_the_text(log: Log) -> None:
    """Date, time with microseconds, a space, the seed's words."""
    log.emit(HANDLED, Draining(41))
    log.sink.say("INFO", "run 1")

    assert [
        f"{FROZEN} ✓ job 18 handled by worker 01",
        f"{FROZEN} draining backlog=41",
        f"{FROZEN} run 1",
    ] == log.lines()


@at_ten
def test_json_has_one_object_a_line_with_stable_keys(log: Log) -> None:
    """The same five keys first, whatever happened, then the fields of the event."""
    log.sink = LogSink([log.target], as_json=True, run_id="run-1")
    log.emit(HANDLED, failed("boom"))
    log.sink.say("INFO", "a note")
    logger.info("from a job")

    told = log.objects()
    assert {("ts", "level", "event", "run", "msg")} == {tuple(each)[:5] for each in told}
    assert {"run-1"} == {each["run"] for each in told}
    assert all(each["ts"].startswith("2025-08-13T10:00:00.000123") for each in told)
    assert [
        ("INFO", "job_succeeded", "✓ job 18 handled by worker 01"),
        ("ERROR", "job_failed", "[worker 01] job 17 permanently failed"),
        ("ERROR", "job_handled", "✗ job 17 handled by worker 01, ERROR: boom"),
        ("INFO", "note", "a note"),
        ("INFO", "message", "from a job"),
    ] == [(each["level"], each["event"], each["msg"]) for each in told]
    assert (18, 1, "worker-01", 2.0) == tuple(
        told[0][key] for key in ("job", "attempt", "worker", "elapsed_s")
    )


HOSTILE = [
    ('{"a": 1}', '{"a": 1}'),
    ("{} {0} {name} {extra[out]}", "{} {0} {name} {extra[out]}"),
    ("<red>x</red> </red>", "<red>x</red> </red>"),
    ("%s %(message)s %", "%s %(message)s %"),
    (
        "a\n2025/08/13 10:00:00.000000 graceful exit complete",
        r"a\n2025/08/13 10:00:00.000000 graceful exit complete",
    ),
    ("\x1b[2J\r\u202e\u2028", r"\x1b[2J\r\u202e\u2028"),
    ("\udcff\x00", r"\xff\x00"),
]


@pytest.mark.parametrize(("text", "shown"), HOSTILE)
def test_the_text_of_a_job_is_data(log: Log, text: str, shown: str) -> None:
    """Braces, tags, percent signs, newlines and bidi marks in an error are shown, and are never a template."""
    log.emit(failed(text))
    log.sink.say("INFO", text)

    assert [
        "[worker 01] job 17 permanently failed",
        f"✗ job 17 handled by worker 01, ERROR: {shown}",
        shown,
    ] == log.texts()


@pytest.mark.parametrize(("text", "shown"), HOSTILE)
def test_the_text_of_a_job_is_data_in_json_too(log: Log, text: str, shown: str) -> None:
    """The message is escaped for people, the field holds the error as it was."""
    log.sink = LogSink([log.target], as_json=True)
    log.emit(failed(text))

    told = log.objects()[-1]
    assert (f"✗ job 17 handled by worker 01, ERROR: {shown}", text) == (told["msg"], told["error"])


@pytest.mark.parametrize(("text", "shown"), HOSTILE)
def test_a_jobs_own_use_of_loguru_comes_into_the_log(log: Log, text: str, shown: str) -> None:
    """At once, with a stamp, on one line."""
    logger.info(text)

    assert [shown] == log.texts()


def test_a_jobs_raw_text_is_a_line_like_any_other(log: Log) -> None:
    """What loguru would write as it is gets a stamp and its newlines escaped: it cannot pass for a line of ours."""
    logger.opt(raw=True).info("2025/08/13 10:00:00.000000 graceful exit complete\n")

    assert [r"2025/08/13 10:00:00.000000 graceful exit complete\n"] == log.texts()


def test_a_jobs_exception_shows_no_variables(log: Log) -> None:
    """`logger.exception` gives its message; secrets in local variables stay where they are."""

    def job(secret: str) -> float:
        try:
            return len(secret) / 0
        except ZeroDivisionError:
            logger.exception("it broke")
            return 0.0

    job("hunter2")

    assert ["it broke"] == log.texts()


@pytest.mark.parametrize("key", ["line", "out", "job", "event"])
def test_a_jobs_own_fields_disturb_nothing(log: Log, key: str) -> None:
    """loguru puts keyword arguments into `extra`, where ours are too: `logger.info("row {line}", line=3)`."""
    logger.info(f"row {{{key}}}", **{key: 3})
    logger.bind(**{key: "x"}).info("bound")

    assert ["row 3", "bound"] == log.texts()


def test_other_handlers_are_gone(log: Log) -> None:
    """The program owns its console: what was added before it started to log hears nothing."""
    heard: list[str] = []
    logger.add(heard.append)
    log.sink = LogSink([log.target])
    log.emit(HANDLED)

    assert [] == heard
    assert 1 == len(log.lines())


def test_a_target_that_fails_is_dropped_with_one_line(log: Log, dead: LogTarget) -> None:
    """The others get everything, and the news once; nothing is raised."""
    log.sink = LogSink([dead, log.target])
    log.emit(HANDLED)
    log.emit(Draining(3))

    handled, ends, draining = log.texts()
    assert ("✓ job 18 handled by worker 01", "draining backlog=3") == (handled, draining)
    assert "log to stdout ends here: Broken pipe" == ends


def test_a_target_that_fails_while_a_job_logs_is_dropped_too(log: Log, dead: LogTarget) -> None:
    """The job that wrote the line is not blamed for it: it goes on, and the others get the news."""
    log.sink = LogSink([log.target, dead])
    logger.info("from a job")
    logger.info("and another")

    assert ["from a job", "log to stdout ends here: Broken pipe", "and another"] == log.texts()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_drops_the_file(log: Log) -> None:
    """The reason is named on the console."""
    fd = os.open("/dev/full", os.O_WRONLY)
    log.sink = LogSink([LogTarget("logs/pipeline.log", fd), log.target])
    log.emit(HANDLED)
    os.close(fd)

    assert "log to logs/pipeline.log ends here: No space left on device" == log.texts()[1]


def test_without_any_target_left_the_run_goes_on(log: Log, dead: LogTarget) -> None:
    """Nobody hears it any more, and nobody is disturbed."""
    log.sink = LogSink([dead, LogTarget("stderr", dead._fd)])
    log.emit(HANDLED)
    log.emit(HANDLED)
    logger.info("from a job")
    log.sink.close()

    assert [] == log.lines()


def test_a_target_that_is_left_gets_what_was_said_before_and_nothing_more(log: Log, tmp_path: Path) -> None:
    """The others are written on."""
    other = Log(tmp_path / "other.log")
    log.sink = LogSink([log.target, other.target])
    log.emit(HANDLED)
    log.sink.leave(str(other.path))
    log.emit(Draining(3))
    os.close(other.target._fd)

    assert (2, 1) == (len(log.lines()), len(other.lines()))


class CountingTarget(LogTarget):
    writes = 0

    def write(self, text: str) -> None:
        self.writes += 1
        super().write(text)


def test_a_batch_is_one_write(log: Log) -> None:
    """A thousand events cost one system call per target; an empty batch none."""
    target = CountingTarget("file", log.target._fd)
    log.sink = LogSink([target])
    log.emit()
    log.emit(*[HANDLED] * 1000)

    assert (1, 1000) == (target.writes, len(log.lines()))


@pytest.mark.parametrize(
    ("encoding", "text", "written"),
    [
        ("utf-8", "✓ ✗ ↑ ↓ — … 日本", "✓ ✗ ↑ ↓ — … 日本".encode()),
        ("UTF8", "✓", "✓".encode()),
        ("utf_8", "✓", "✓".encode()),
        ("ascii", "✓ ✗ ↑ ↓ — …", b"ok x ^ v -- ..."),
        ("ANSI_X3.4-1968", "✓", b"ok"),
        ("latin-1", "✓ caf\xe9 日", b"ok caf\xe9 \\u65e5"),
        ("cp1252", "✓ € —", b"ok \x80 --"),
        ("utf-8", "\udcff", b"\\udcff"),
    ],
)
def test_marks_are_ascii_where_the_encoding_is_not_utf_8(
    tmp_path: Path, encoding: str, text: str, written: bytes
) -> None:
    """Each mark stays one word; what else the encoding lacks is escaped, and nothing is raised."""
    fd = os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT)
    LogTarget("stdout", fd, encoding).write(text)
    os.close(fd)

    assert written == (tmp_path / "out").read_bytes()


def test_the_file_gets_its_folder_and_keeps_what_it_has(tmp_path: Path) -> None:
    """Folders are made; a file that is there already is appended to, also by two runs at once."""
    path = tmp_path / "new" / "logs" / "pipeline.log"
    one, two = LogTarget.open_file(str(path)), LogTarget.open_file(str(path))
    for number, target in enumerate((one, two, one)):
        target.write(f"{number}\n")
    inheritable = [os.get_inheritable(target._fd) for target in (one, two)]
    for target in (one, two):
        os.close(target._fd)

    assert "0\n1\n2\n" == path.read_text()
    assert [False, False] == inheritable


def test_a_file_in_the_current_folder_needs_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bare name is a path too."""
    monkeypatch.chdir(tmp_path)
    os.close(LogTarget.open_file("pipeline.log")._fd)

    assert (tmp_path / "pipeline.log").exists()


def test_a_file_that_cannot_be_opened_says_so(tmp_path: Path) -> None:
    """Before the first job: the caller makes it exit 4."""
    (tmp_path / "file").touch()

    with pytest.raises(OSError, match="Is a directory"):
        LogTarget.open_file(str(tmp_path))
    with pytest.raises(OSError, match=r"File exists|Not a directory"):
        LogTarget.open_file(str(tmp_path / "file" / "pipeline.log"))


def test_a_slow_reader_gets_everything(log: Log) -> None:
    """A pipe takes less than a batch at a time; the rest is written when there is room."""
    reader, writer = os.pipe()
    log.sink = LogSink([LogTarget("stdout", writer)])

    def write() -> None:
        log.emit(*[HANDLED] * 5000)
        os.close(writer)

    writing = Spawned(write)
    with os.fdopen(reader, "rb") as file:
        received = file.read().splitlines()
    writing.result()

    assert 5000 == len(received)
    assert {26} == {len(line) - len(b" \xe2\x9c\x93 job 18 handled by worker 01") for line in received}


def test_jobs_that_log_and_the_run_do_not_tear_each_others_lines(log: Log) -> None:
    """While a batch waits for a slow reader the jobs' lines wait too: each arrives whole, once, in its order."""
    reader, writer = os.pipe()
    log.sink = LogSink([LogTarget("stdout", writer), log.target])

    def job(who: str) -> None:
        for number in range(LINES):
            logger.info(f"{who} {number}")

    run = Spawned(lambda: log.emit(*[HANDLED] * 10 * LINES))
    wait_until(lambda: not select.select([], [writer], [], 0)[1])  # the pipe is full
    jobs = [Spawned(lambda who=who: job(who)) for who in ("job-a", "job-b")]  # type: ignore[misc]

    def end() -> None:
        for each in (run, *jobs):
            each.result()
        os.close(writer)

    ending = Spawned(end)
    with os.fdopen(reader, "rb") as file:
        received = [line.decode(errors="replace").split(" ", 2)[2] for line in file.read().splitlines()]
    ending.result()

    for texts in (received, log.texts()):
        assert 12 * LINES == len(texts)
        assert 10 * LINES == texts.count("✓ job 18 handled by worker 01")
        for who in ("job-a", "job-b"):
            assert [f"{who} {number}" for number in range(LINES)] == [text for text in texts if who in text]
