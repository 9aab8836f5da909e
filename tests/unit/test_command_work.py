"""A process per record: real commands, real files, real signals."""

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from dynamic_pipeline.attempts import Attempt, Failed, Outcome, Succeeded, run_attempt
from dynamic_pipeline.jobs import Job
from dynamic_pipeline.process_group import ProcessGroup
from dynamic_pipeline.records import Record
from dynamic_pipeline.reports import CommandReport, LostOutput
from dynamic_pipeline.templates import CommandTemplate
from dynamic_pipeline.work import local_commands
from dynamic_pipeline.work.command import CommandWork
from dynamic_pipeline.work.local_commands import LocalCommands
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.doubles import Spawned, wait_until

Make = Callable[..., CommandWork]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes work in a folder of this test; at its end nothing of it runs and nothing of it is left."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    made: list[CommandWork] = []

    def make(*command: str, kill_grace_s: float = 0.2, **options: Any) -> CommandWork:
        template = CommandTemplate(command)
        commands = LocalCommands(run_id="run-1", kill_grace_s=kill_grace_s, **options)
        made.append(CommandWork(template, commands))
        return made[-1]

    yield make
    for work in made:
        work.kill()
        work.close()


def attempt(raw: bytes = b"record", number: int = 1, *, problem: str = "") -> Attempt:
    return Attempt(Job(17, Record(raw, "in.txt", 1, problem)), number)


def do(work: CommandWork, raw: bytes = b"record", number: int = 1) -> Outcome:
    return run_attempt(work, attempt(raw, number))


def written(outcome: Outcome) -> tuple[bytes, bytes]:
    assert isinstance(outcome.value, CommandReport)
    return b"".join(outcome.value.stdout.chunks()), b"".join(outcome.value.stderr.chunks())


def stdout(outcome: Outcome) -> bytes:
    assert isinstance(outcome, Succeeded), outcome
    return written(outcome)[0]


def folder_of(work: CommandWork) -> str:
    assert isinstance(work.commands, LocalCommands)
    return work.commands.folder


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (("echo", "{}"), b"rec ord\n"),
        (("echo", "<{}>", "{}{}"), b"<rec ord> rec ordrec ord\n"),
        (("echo", "last:"), b"last: rec ord\n"),
        (("printf", "%s|", "a", "{}", "b"), b"a|rec ord|b|"),
        (("printf", "%s|", "{", "}", "{ }", "{}"), b"{|}|{ }|rec ord|"),
    ],
)
def test_the_record_stands_where_the_braces_are(
    make: Make, command: tuple[str, ...], expected: bytes
) -> None:
    """Each `{}`, also inside a word, or at the end where there is none; it is always part of one argument."""
    assert expected == stdout(do(make(*command), b"rec ord"))


@pytest.mark.parametrize(
    "raw",
    [b"$(touch pwned)", b"`touch pwned`", b"; touch pwned", b"a\nb", b"'\"\\ *", b"{}{}", b"-n", b"\xff\xfe"],
)
def test_a_record_is_never_shell_text(
    make: Make, raw: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every byte of it arrives as it is, and nothing of it is run."""
    monkeypatch.chdir(tmp_path)

    assert raw + b"|" == stdout(do(make("printf", "%s|", "{}"), raw))
    assert not (tmp_path / "pwned").exists()


@given(raw=st.binary(min_size=1, max_size=40).filter(lambda raw: b"\0" not in raw))
@settings(max_examples=25, deadline=None)
def test_any_bytes_but_nul_arrive(raw: bytes) -> None:
    """The argument is the record, byte for byte."""
    work = CommandWork(CommandTemplate(("printf", "%s")), LocalCommands(run_id="run-1", kill_grace_s=0.2))
    try:
        assert raw == stdout(do(work, raw))
    finally:
        work.close()


def test_a_command_knows_its_job_and_has_the_callers_environment(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Job, attempt and run are in its environment, beside what was there."""
    monkeypatch.setenv("MINE", "kept")
    script = 'echo "$PIPELINE_JOB_ID $PIPELINE_JOB_ATTEMPT $PIPELINE_RUN_ID $MINE"'

    assert b"17 2 run-1 kept\n" == stdout(do(make("sh", "-c", script), number=2))


def test_a_command_reads_nothing(make: Make) -> None:
    """Its standard input is empty: it neither waits for the terminal nor eats the records."""
    assert b"" == stdout(do(make("sh", "-c", "cat")))


def test_stdout_and_stderr_are_kept_apart(make: Make) -> None:
    """In their order each, byte for byte."""
    outcome = do(make("sh", "-c", r"printf 'o\0ut'; echo err >&2; printf 2"))

    assert (b"o\0ut2", b"err\n") == written(outcome)


@pytest.mark.parametrize(
    ("script", "error", "is_retryable"),
    [
        ("exit 1", "exit 1", True),
        ("exit 255", "exit 255", True),
        ("exit 126", "exit 126 (not executable)", False),
        ("exit 127", "exit 127 (not found)", False),
        ("kill -KILL $$", "killed by signal 9 (SIGKILL)", True),
        ("kill -SEGV $$", "killed by signal 11 (SIGSEGV)", True),
    ],
)
def test_a_command_that_fails_says_how_and_keeps_its_output(
    make: Make, script: str, error: str, is_retryable: bool
) -> None:
    """The exit code or the signal; 126 and 127 are not tried again; what it wrote comes along."""
    outcome = do(make("sh", "-c", f"echo out; echo err >&2; {script}"))

    assert isinstance(outcome, Failed)
    assert (error, is_retryable, False) == (outcome.error, outcome.is_retryable, outcome.is_interrupted)
    assert (b"out\n", b"err\n") == written(outcome)


@pytest.mark.skipif(sys.platform != "linux", reason="real-time signals are Linux's")
def test_a_signal_without_a_name_is_told_by_its_number(make: Make) -> None:
    """Real-time signals have numbers only."""
    outcome = do(make("sh", "-c", "kill -40 $$"))

    assert isinstance(outcome, Failed)
    assert "killed by signal 40 (unknown)" == outcome.error


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with things that are no programs."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "data").write_bytes(b"no program")
    (folder / "data").chmod(0o644)
    (folder / "text").write_bytes(b"echo no shebang\n")
    (folder / "text").chmod(0o755)
    (folder / "orphan").write_bytes(b"#!/nowhere/sh\n")
    (folder / "orphan").chmod(0o755)
    return folder


@pytest.mark.parametrize(
    ("command", "raw", "error"),
    [
        ("no-such-program", b"x", "exit 127 (not found): no-such-program"),
        ("/nowhere/x", b"x", "exit 127 (not found): /nowhere/x"),
        ("./orphan", b"x", "exit 127 (not found): ./orphan"),
        ("./data", b"x", "exit 126 (not executable): ./data"),
        ("/", b"x", "exit 126 (not executable): /"),
        ("./text", b"x", "exit 126 (not a program): ./text"),
        ("", b"x", "exit 127 (not found): ''"),
        ("{}", b"", "exit 127 (not found): ''"),
        ("echo", b"a\0b", "bad record: an argument holds a NUL byte"),
        ("echo", b"x" * (1 << 20), "the arguments are too long for this system"),
    ],
)
@pytest.mark.usefixtures("programs")
def test_what_cannot_be_started_is_not_tried_again(
    make: Make, tmp_path: Path, command: str, raw: bytes, error: str
) -> None:
    """No program, a folder, a NUL, too long: the reason is named, and no file is left."""
    outcome = do(make(command), raw)

    assert isinstance(outcome, Failed)
    assert (error, False) == (outcome.error, outcome.is_retryable)
    assert outcome.value.code == (127 if "127" in error else 126)
    assert ["data", "orphan", "text"] == files(tmp_path)


@pytest.mark.parametrize(
    ("command", "raw"), [("./data/x", b"x"), ("{}", b"x" * 5000)], ids=["below a file", "too long a name"]
)
@pytest.mark.usefixtures("programs")
def test_a_name_that_can_be_no_program_is_not_tried_again(make: Make, command: str, raw: bytes) -> None:
    """ENOTDIR and ENAMETOOLONG are as final as ENOENT: the same name fails the same way."""
    outcome = do(make(command), raw)

    assert isinstance(outcome, Failed)
    assert not outcome.is_retryable


def test_a_bad_record_is_not_run(make: Make, tmp_path: Path) -> None:
    """Its problem is the error, without retries and without a file."""
    outcome = run_attempt(make("touch", str(tmp_path / "ran")), attempt(problem="the line is too long"))

    assert isinstance(outcome, Failed)
    assert ("bad record: the line is too long", False) == (outcome.error, outcome.is_retryable)
    assert [] == files(tmp_path)


def test_large_output_stays_in_its_file_until_it_is_discarded(make: Make, tmp_path: Path) -> None:
    """More than 16 KiB cost no memory; shown and discarded they cost no disk."""
    outcome = do(make("sh", "-c", "head -c 20000 /dev/zero; head -c 100 /dev/zero >&2"))

    assert ["17.1.out"] == files(tmp_path)
    assert (20_000, 100) == tuple(len(stream) for stream in written(outcome))
    outcome.value.stdout.discard()
    outcome.value.stderr.discard()
    assert [] == files(tmp_path)


@pytest.mark.usefixtures("make")
def test_close_removes_what_is_left(tmp_path: Path) -> None:
    """Outputs that nobody showed go with their folder, and no descriptor stays open."""
    fds = len(list(Path("/dev/fd").iterdir()))
    work = CommandWork(
        CommandTemplate(("head", "-c", "20000")), LocalCommands(run_id="run-1", kill_grace_s=0.2)
    )
    do(work, b"/dev/zero")
    work.close()

    assert [] == list(tmp_path.rglob("*"))
    assert fds == len(list(Path("/dev/fd").iterdir()))


def test_an_output_that_cannot_be_kept_fails_the_attempt_and_leaks_nothing(make: Make) -> None:
    """When the second of the two files cannot be made, the first is closed: descriptors may be what is short."""
    work = make("true")
    Path(folder_of(work), "17.1.err").touch()
    fds = len(list(Path("/dev/fd").iterdir()))
    outcome = do(work)

    assert isinstance(outcome, Failed)
    assert fds == len(list(Path("/dev/fd").iterdir()))


def test_a_process_is_told_of_when_it_is_not_over_soon(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its job, its attempt and its number, while it runs; one that is over by then is not worth it."""
    told: list[tuple[int, int, int]] = []
    os.mkfifo(tmp_path / "go")
    work = make(
        "sh",
        "-c",
        'echo $$; read line < "$1"',
        "sh",
        str(tmp_path / "go"),
        started=lambda *of: told.append(of),
    )
    waiting = Spawned(lambda: do(work, number=3))
    with (tmp_path / "go").open("w") as go:
        wait_until(lambda: told)
        go.write("on\n")
    pid = int(stdout(waiting.result()))
    monkeypatch.setattr(local_commands, "NOTED_AFTER_S", 60.0)

    assert "record" == stdout(do(make("echo", started=lambda *of: told.append(of)))).decode().strip()
    assert [(17, 3, pid)] == told


@pytest.mark.parametrize("timeout_s", [0.01, 0.05])
def test_a_process_that_is_told_of_has_no_more_time(
    make: Make, monkeypatch: pytest.MonkeyPatch, timeout_s: float
) -> None:
    """The wait in two parts is no longer than the limit, and a limit below the first part holds as well."""
    told: list[tuple[int, ...]] = []
    waits: list[float | None] = []
    wait = ProcessGroup.wait

    def noted(group: ProcessGroup, wake_fd: int, limit_s: float | None = None) -> bool:
        waits.append(limit_s)
        return wait(group, wake_fd, limit_s)

    monkeypatch.setattr(ProcessGroup, "wait", noted)
    outcome = do(make("sh", "-c", "exec sleep 60", timeout_s=timeout_s, started=lambda *of: told.append(of)))

    assert isinstance(outcome, Failed)
    assert (f"timeout after {timeout_s:g} s", timeout_s > local_commands.NOTED_AFTER_S) == (
        outcome.error,
        bool(told),
    )
    assert pytest.approx(timeout_s) == sum(limit_s or 0.0 for limit_s in waits)


def test_nothing_starts_when_a_cleaner_has_removed_the_folder(make: Make, tmp_path: Path) -> None:
    """Another try would fail as well; what has gone is named, so that the run can end with a fault of its own."""
    work = make("touch", str(tmp_path / "ran"))
    shutil.rmtree(folder_of(work))
    outcome = do(work)

    assert isinstance(outcome, Failed)
    assert ("not started: its output has nowhere to go", False, False) == (
        outcome.error,
        outcome.is_retryable,
        outcome.is_interrupted,
    )
    assert LostOutput(f"{folder_of(work)} has been removed") == outcome.value
    assert [] == files(tmp_path)


def test_a_command_whose_output_was_removed_is_not_run_again(make: Make) -> None:
    """It has run: a retry would do its work twice."""
    work = make("sh", "-c", 'rm "$0"/*')
    outcome = do(work, os.fsencode(folder_of(work)))

    assert isinstance(outcome, Failed)
    assert ("the output of the command is lost", False) == (outcome.error, outcome.is_retryable)
    assert LostOutput(f"{folder_of(work)}/17.1.out has been removed") == outcome.value


def test_a_time_limit_of_a_month_is_no_error(make: Make) -> None:
    """It is more milliseconds than the kernel counts; the command runs once, and to its end."""
    assert b"record\n" == stdout(do(make("echo", timeout_s=720 * 3600.0)))


def test_a_fault_of_ours_leaves_no_command_behind(make: Make) -> None:
    """What was started is ended and collected before the error is told, or a retry would run beside it."""
    outcome = do(make("sleep", "60", timeout_s="no number"), b"60")

    assert isinstance(outcome, Failed)
    assert outcome.error.startswith("TypeError: ")
    with pytest.raises(ChildProcessError):  # there is no child at all
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)


def test_a_job_is_over_when_its_leader_exits(make: Make) -> None:
    """A background process that holds the output open does not hold up the job, and is left alone."""
    outcome = do(make("sh", "-c", "sleep 60 & echo $!"))
    child = int(stdout(outcome))
    os.kill(child, signal.SIGKILL)  # raises if it is not there


def started(work: CommandWork, fifo: Path) -> tuple[Spawned[Outcome], int]:
    """The attempt on a thread of its own, and a descriptor that ends when all its processes have gone."""
    os.mkfifo(fifo)
    running = Spawned(lambda: do(work, os.fsencode(fifo)))
    fd = os.open(fifo, os.O_RDONLY)
    assert b"ready\n" == os.read(fd, 6)
    return running, fd


def interrupted(outcome: Outcome) -> bytes:
    assert isinstance(outcome, Failed)
    assert ("ended by the forced stop", True) == (outcome.error, outcome.is_interrupted)
    return written(outcome)[0]


POLITE = 'echo partial; exec 9>"$0"; sleep 60 & echo ready >&9; wait'
STUBBORN = f"trap '' TERM; {POLITE}"


@pytest.mark.parametrize(("script", "grace_s"), [(POLITE, 60.0), (STUBBORN, 0.2)])
def test_an_abort_ends_a_command_with_its_children(
    make: Make, tmp_path: Path, script: str, grace_s: float
) -> None:
    """By TERM, or by KILL after the grace; the attempt is interrupted, what it wrote is kept."""
    work = make("sh", "-c", script, kill_grace_s=grace_s)
    running, fd = started(work, tmp_path / "fifo")
    work.abort()

    assert b"partial\n" == interrupted(running.result())
    assert b"" == os.read(fd, 1)  # blocks while one of them lives
    os.close(fd)


def test_a_command_that_answers_term_with_success_was_interrupted(make: Make, tmp_path: Path) -> None:
    """Nobody knows how far it was: it has not succeeded."""
    # A child that was just forked may hear TERM while the trap is still its own: then the grace has to pass.
    work = make("sh", "-c", f"trap 'exit 0' TERM; {POLITE}", kill_grace_s=1.0)
    running, fd = started(work, tmp_path / "fifo")
    work.abort()

    assert b"partial\n" == interrupted(running.result())
    os.close(fd)


@pytest.mark.parametrize("script", [POLITE, STUBBORN, f"trap 'exit 0' TERM; {POLITE}"])
def test_a_timeout_ends_a_command_with_its_children(make: Make, tmp_path: Path, script: str) -> None:
    """TERM, the grace, KILL; what it wrote is kept, it may be tried again, and an exit 0 then is no success."""
    work = make("sh", "-c", script, kill_grace_s=0.2, timeout_s=0.2)
    running, fd = started(work, tmp_path / "fifo")
    outcome = running.result()
    assert isinstance(outcome, Failed)
    assert (outcome.error, outcome.is_retryable, outcome.is_interrupted) == (
        "timeout after 0.2 s",
        True,
        False,
    )
    assert written(outcome)[0] == b"partial\n"
    assert os.read(fd, 1) == b"", "one of its processes lives on"
    os.close(fd)


def test_an_abort_ends_all_that_runs(make: Make, tmp_path: Path) -> None:
    """Every worker is woken, and a second abort changes nothing."""
    work = make("sh", "-c", POLITE)
    runs = []
    for number in (1, 2, 3):
        os.mkfifo(tmp_path / str(number))
        raw = os.fsencode(tmp_path / str(number))
        runs.append(Spawned(lambda raw=raw, number=number: do(work, raw, number)))  # type: ignore[misc]
    for number in (1, 2, 3):
        with (tmp_path / str(number)).open("rb", buffering=0) as fifo:
            assert b"ready\n" == fifo.read(6)
    work.abort()
    work.abort()

    assert [b"partial\n"] * 3 == [interrupted(run.result()) for run in runs]


def test_after_an_abort_nothing_starts(make: Make, tmp_path: Path) -> None:
    """A job that a worker takes up late is interrupted before it has run."""
    work = make("touch", str(tmp_path / "ran"))
    work.abort()
    outcome = do(work)

    assert isinstance(outcome, Failed)
    assert ("not started", True, None) == (outcome.error, outcome.is_interrupted, outcome.value)
    assert [] == files(tmp_path)


def test_the_last_resort_kills_every_group_at_once(make: Make, tmp_path: Path) -> None:
    """The third signal waits for no grace: a command that ignores TERM is gone with its children."""
    work = make("sh", "-c", STUBBORN, kill_grace_s=1000.0)
    running, fd = started(work, tmp_path / "fifo")
    work.kill()
    outcome = running.result()

    assert isinstance(outcome, Failed)
    assert "killed by signal 9 (SIGKILL)" == outcome.error
    assert b"" == os.read(fd, 1)
    os.close(fd)


def test_ctrl_c_at_the_terminal_does_not_reach_a_command(make: Make) -> None:
    """A command is in no process group of ours, so that a drain can let it finish."""
    script = "import os; print(os.getsid(0) == os.getpid() == os.getpgid(0))"

    assert b"True\n" == stdout(do(make(sys.executable, "-c", script)))
