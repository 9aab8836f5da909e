"""`--executor processes`: the real program, whose processes are killed one by one, and all at once."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import pytest

from tests.acceptance.conftest import PIPELINE, Program, Starter
from tests.doubles import PATIENCE_S, wait_until
from tests.living import children, family, fork_server, lives, wait_gone

TASK = """\
import ctypes, os, signal, threading
from dynamic_pipeline import current_job

def note(name, what):
    fd = os.open(name, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, f"{what}\\n".encode())
    os.close(fd)

def work(record):
    note("ran", record)
    note("pids", f"{record} {os.getpid()}")
    kind = record.partition("-")[0]
    if kind == "segfault":
        ctypes.string_at(0)
    elif kind == "exit":
        os._exit(3)
    elif kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif kind == "gate":
        with open("gate", "rb", buffering=0) as gate:
            gate.read(1)
    elif os.path.exists("go"):
        pass
    elif kind == "python":
        while True:
            pass
    elif kind == "lock":
        pow(7, 60_000_000)
    elif kind == "child":
        pid = os.posix_spawn("/bin/sleep", ["sleep", "100"], os.environ)
        note("pids", f"grandchild {pid}")
        os.waitpid(pid, 0)
    note("ended", record)

def speak(record):
    if record == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    print("printed", record)
    return record
"""
RUN = ("run", "--executor", "processes", "--call", "task:work")


@pytest.fixture(autouse=True)
def task(tmp_path: Path) -> Iterator[None]:
    """The user's module; and nothing of the program may be left when a test ends."""
    (tmp_path / "task.py").write_text(TASK)
    before = children()
    yield
    wait_gone(lambda: children() - before)


class Gate:
    """What the calls that begin with `gate` wait at."""

    def __init__(self, folder: Path) -> None:
        os.mkfifo(folder / "gate")
        self._fd = os.open(folder / "gate", os.O_RDWR)

    def let_out(self, count: int) -> None:
        os.write(self._fd, b"." * count)

    def close(self) -> None:
        os.close(self._fd)


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    made = Gate(tmp_path)
    yield made
    made.close()


def words(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


def pids(folder: Path) -> dict[str, list[int]]:
    """By the record: of the processes in which it was executed."""
    found: dict[str, list[int]] = {}
    told = words(folder / "pids")
    for record, pid in zip(told[::2], told[1::2], strict=True):
        found.setdefault(record, []).append(int(pid))
    return found


def wait_executed(folder: Path, *records: str) -> None:
    """Until each of them has been begun."""
    path = folder / "pids"
    wait_until(
        lambda: path.exists() and path.read_text().endswith("\n") and set(records) <= set(pids(folder))
    )


@contextmanager
def running(command: list[str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Killed at the end, and in a session of its own, so that no signal to us is one to it."""
    with subprocess.Popen(
        command, cwd=folder, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def last(program: Program) -> str:
    return program.stderr.splitlines()[-1]


def lines(*records: object) -> str:
    return "".join(f"{record}\n" for record in records)


# ── a process that dies ─────────────────────────────────────────────────────────────────────────────


def test_jobs_that_take_their_process_down_fail_alone_and_say_why(
    start: Starter, tmp_path: Path, gate: Gate
) -> None:
    """By signal, by exit and by KILL; each is tried again, and what ran beside them ran once."""
    (tmp_path / "in").write_text(lines("gate-1", "segfault", "exit", "kill", "good"))
    program = start(*RUN, "-i", "in", "-j", "2", "--max-retries", "1")
    wait_executed(tmp_path, "good")
    program.wait_for("✓ job 5 ")
    gate.let_out(1)

    assert program.wait() == 1
    told = {
        line.split()[3]: line.partition("its process died: ")[2]
        for line in program.stderr.splitlines()
        if line.startswith("  job ")
    }
    assert told == {
        "segfault": "killed by signal 11 (SIGSEGV)  (after 2 tries)",
        "exit": "exit 3  (after 2 tries)",
        "kill": "killed by signal 9 (SIGKILL)  (after 2 tries)",
    }
    assert last(program) == "3 failed, 2 ok, 0 not run — exit 1"
    assert Counter(words(tmp_path / "ran")) == {"gate-1": 1, "segfault": 2, "exit": 2, "kill": 2, "good": 1}


@pytest.mark.parametrize("crashes", [200, pytest.param(2000, marks=pytest.mark.soak)])
def test_a_crash_in_every_second_job(start: Starter, tmp_path: Path, crashes: int) -> None:
    """All are counted, and neither processes nor descriptors pile up."""
    reader, writer = os.pipe()
    program = start(*RUN, "-q", "-i", "-", "-j", "4", "--max-retries", "0", stdin=reader)
    os.close(reader)

    def open_after(*jobs: int) -> int:
        for job in jobs:
            program.wait_for(f"✓ job {job} ")
        return len(os.listdir(f"/proc/{program.process.pid}/fd"))  # noqa: PTH208 - numbers

    os.write(writer, lines(*["segfault", "good"] * 20).encode())
    at_first = open_after(40)
    os.write(writer, lines(*["segfault", "good"] * (crashes - 20)).encode())
    at_last = open_after(*range(crashes // 2, 2 * crashes + 1, crashes // 2))
    processes = len(children(program.process.pid))
    os.close(writer)

    assert program.wait() == 1
    assert last(program) == f"{crashes} failed, {crashes} ok, 0 not run — exit 1"
    assert Counter(words(tmp_path / "ran")) == {"segfault": crashes, "good": crashes}
    assert processes <= 4
    assert at_last <= at_first + 4 * 5  # what four processes have at the most, if none lived at first


# ── time limits and forced stops ────────────────────────────────────────────────────────────────────


def test_a_time_limit_ends_a_call_that_holds_the_interpreters_lock(run: Starter, tmp_path: Path) -> None:
    """It has failed, was tried again, and the job behind it had its turn on the same worker."""
    (tmp_path / "in").write_text(lines("lock", "good"))
    options = ("--timeout", "0.5s", "--kill-grace", "0.1s", "--max-retries", "1", "-j", "1")
    program = run(*RUN, "-i", "in", *options)

    assert program.process.returncode == 1
    assert "FAILED timeout after 0.5 s: 1 job" in program.stderr
    assert Counter(words(tmp_path / "ran")) == {"lock": 2, "good": 1}
    assert words(tmp_path / "ended") == ["good"]


def test_a_forced_stop_waits_for_no_call_that_holds_the_lock(start: Starter, tmp_path: Path) -> None:
    """The program leaves within the grace and a second, with nothing charged and nobody left."""
    (tmp_path / "in").write_text(lines("lock-1", "lock-2", "child"))
    program = start(*RUN, "-i", "in", "-j", "3", "--kill-grace", "0.2s")
    wait_executed(tmp_path, "lock-1", "lock-2", "grandchild")
    living = family(program.process.pid)
    began_s = monotonic()
    program.signal(signal.SIGQUIT)

    assert program.wait() == 128 + signal.SIGQUIT
    assert monotonic() - began_s < 0.2 + 1
    assert last(program) == "0 failed, 0 ok, 3 not run — exit 131"
    wait_gone(lambda: set(filter(lives, living)))


def test_the_third_signal_leaves_nobody_behind(start: Starter, tmp_path: Path) -> None:
    """Though the grace would last for an hour, and though calls are in C and have children."""
    (tmp_path / "in").write_text(lines("lock", "child"))
    program = start(*RUN, "-i", "in", "-j", "2", "--kill-grace", "1h")
    wait_executed(tmp_path, "lock", "grandchild")
    living = family(program.process.pid)

    def has_left_after_another() -> bool:
        program.signal(signal.SIGQUIT)
        return program.process.poll() is not None

    wait_until(has_left_after_another)
    assert program.wait() == 128 + signal.SIGQUIT
    wait_gone(lambda: set(filter(lives, living)))


# ── kill -9 ─────────────────────────────────────────────────────────────────────────────────────────


def succeeded(folder: Path) -> set[str]:
    """Records that the journal knows as done."""
    with sqlite3.connect(f"file:{folder / 'logs' / 'journal.db'}?mode=ro", uri=True) as connection:
        rows = connection.execute("SELECT payload FROM jobs WHERE state = 'S'").fetchall()
    return {payload.decode() for (payload,) in rows}


def test_a_killed_program_takes_its_processes_along_and_its_records_are_resumed(
    start: Starter, tmp_path: Path
) -> None:
    """Whether they are in Python, in C with the lock, in a child or idle; the rest is run, and what was done is not."""
    quick = [f"quick-{number}" for number in range(20)]
    busy = ["python", "lock", "child"]
    (tmp_path / "in").write_text(lines(*quick, *busy))
    command = [*PIPELINE, *RUN, "-i", "in", "-j", "5", "-q"]
    with running(command, tmp_path) as killed:
        wait_executed(tmp_path, *quick, *busy, "grandchild")
        wait_until(lambda: succeeded(tmp_path) == set(quick))
        living = family(killed.pid)
        assert {pid for record in (*busy, "grandchild") for pid in pids(tmp_path)[record]} <= living
        assert fork_server(killed.pid) in living
        killed.kill()
    wait_gone(lambda: set(filter(lives, living)))
    assert set(words(tmp_path / "ended")) == set(quick)  # nobody was waited for
    (tmp_path / "go").touch()
    program = start(*RUN, "-i", "in", "-j", "5", "-q", "--resume")

    assert program.wait() == 0
    assert last(program) == "0 failed, 23 ok, 0 not run — exit 0"
    assert Counter(words(tmp_path / "ran")) == dict.fromkeys(quick, 1) | dict.fromkeys(busy, 2)


def test_kills_in_the_middle_of_the_work_lose_nothing(start: Starter, tmp_path: Path) -> None:
    """Two in a row under load: each record is done, and none again that was recorded as done."""
    records = [f"quick-{number}" for number in range(300)]
    (tmp_path / "in").write_text(lines(*records))
    command = [*PIPELINE, *RUN, "-i", "in", "-j", "3", "-q", "--resume"]
    done_before: Counter[str] = Counter()
    done: set[str] = set()
    for kill in range(1, 3):
        with running(command, tmp_path) as killed:
            wait_until(lambda kill=kill: len(words(tmp_path / "ran")) >= 100 * kill)  # type: ignore[misc]
            living = family(killed.pid)
            killed.kill()
        wait_gone(lambda living=living: set(filter(lives, living)))  # type: ignore[misc]
        now = Counter(words(tmp_path / "ran"))
        assert {record for record in done if now[record] != done_before[record]} == set()
        done, done_before = succeeded(tmp_path), now
    assert 0 < len(done) < len(records)
    program = start(*RUN, "-i", "in", "-j", "3", "-q", "--resume")

    assert program.wait() == 0
    assert last(program) == "0 failed, 300 ok, 0 not run — exit 0"
    ran = Counter(words(tmp_path / "ran"))
    assert set(ran) == set(records)
    assert {record for record in done if ran[record] != done_before[record]} == set()


# ── signals ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_whole_group_only_drains(
    start: Starter, tmp_path: Path, gate: Gate, signum: signal.Signals
) -> None:
    """What runs is finished, in the process where it began, and accepted jobs get the processes that they need."""
    reader, writer = os.pipe()
    program = start(*RUN, "-i", "-", "-j", "2", "--max-retries", "1", stdin=reader)
    os.close(reader)
    os.write(writer, lines("gate-1", "gate-2", "kill", "good", "gate-3").encode())
    wait_executed(tmp_path, "gate-1", "gate-2")
    server = fork_server(program.process.pid)
    workers = {pids(tmp_path)[record][0] for record in ("gate-1", "gate-2")}
    os.killpg(program.process.pid, signum)
    program.wait_for("beginning drain")
    assert {server, *workers} == set(filter(lives, {server, *workers}))
    gate.let_out(2)
    wait_executed(tmp_path, "gate-3")
    assert lives(server)
    gate.let_out(1)

    assert program.wait() == 128 + signum
    os.close(writer)
    assert Counter(words(tmp_path / "ran")) == {"gate-1": 1, "gate-2": 1, "kill": 2, "good": 1, "gate-3": 1}
    assert set(words(tmp_path / "ended")) == {"gate-1", "gate-2", "good", "gate-3"}
    assert "1 failed, 4 ok, 0 not run" in last(program)


def test_a_killed_fork_server_ends_no_call_and_is_replaced(
    start: Starter, tmp_path: Path, gate: Gate
) -> None:
    """What runs goes on, as its first try; later jobs get processes of another server, and crashes are told as ever."""
    reader, writer = os.pipe()
    program = start(*RUN, "-i", "-", "-j", "2", "--max-retries", "0", stdin=reader)
    os.close(reader)
    os.write(writer, b"gate-1\n")
    wait_executed(tmp_path, "gate-1")
    server = fork_server(program.process.pid)
    os.kill(server, signal.SIGKILL)
    wait_until(lambda: not lives(server))
    os.write(writer, lines("good", "segfault", "good-2").encode())
    program.wait_for("✓ job 4 ")
    assert fork_server(program.process.pid) != server
    gate.let_out(1)
    program.wait_for("✓ job 1 ")
    os.close(writer)

    assert program.wait() == 1
    assert "segfault  its process died: killed by signal 11 (SIGSEGV)" in program.stderr
    assert last(program) == "1 failed, 3 ok, 0 not run — exit 1"
    assert set(Counter(words(tmp_path / "ran")).values()) == {1}


# ── prints ──────────────────────────────────────────────────────────────────────────────────────────


def test_prints_are_out_when_the_job_is_reported_done(start: Starter) -> None:
    """Also what was not flushed; and a process that is killed later takes none of it along."""
    reader, writer = os.pipe()
    program = start(
        "run", "--executor", "processes", "--call", "task:speak", "-i", "-", "-j", "1", "--max-retries", "0",
        stdin=reader, PYTHONUNBUFFERED="",
    )  # fmt: skip
    os.close(reader)
    for number, record in enumerate("ab", 1):
        os.write(writer, f"{record}\n".encode())
        program.wait_for(f"✓ job {number} ")
        assert program.stdout.endswith(f"printed {record}\n")
    os.write(writer, b"kill\nc\n")
    program.wait_for("✓ job 4 ")
    os.close(writer)

    assert program.wait() == 1
    assert program.stdout == "printed a\nprinted b\nprinted c\n"


def test_prints_stay_out_of_results_on_stdout(run: Starter, tmp_path: Path) -> None:
    """They are on stderr; stdout has a line of JSON per job."""
    (tmp_path / "in").write_text(lines("a", "b"))
    program = run("run", "--executor", "processes", "--call", "task:speak", "-i", "in", "--results", "-")

    assert program.process.returncode == 0
    assert {"a", "b"} == {json.loads(line)["value"] for line in program.stdout.splitlines()}
    assert "printed a\n" in program.stderr
    assert "printed b\n" in program.stderr


@pytest.mark.parametrize("count", [1, 2000])
def test_prints_that_nobody_takes_are_no_success(tmp_path: Path, count: int) -> None:
    """With the reader of stdout gone the code is 141, whether that is noticed at the end or on the way."""
    (tmp_path / "in").write_text(lines(*range(count)))
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [*PIPELINE, "run", "--executor", "processes", "--call", "task:speak", "-i", "in", "-j", "2"],
        cwd=tmp_path,
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    os.close(writer)

    assert done.returncode == 141, done.stderr
    assert "Traceback" not in done.stderr


# ── on the command line ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--executor", "processes", "--", "true"), "a command is a process already"),
        (("--executor", "processes", "-c", "true"), "a command is a process already"),
    ],
)
def test_what_makes_no_sense_is_refused(
    run: Starter, tmp_path: Path, args: tuple[str, ...], said: str
) -> None:
    """With 2 and one line that says it, and the way out; nothing is created, and nothing has run."""
    (tmp_path / "in").write_text(lines("a"))
    program = run("run", "-i", "in", *args)

    assert program.process.returncode == 2
    error, *hint = program.stderr.splitlines()
    assert said in error
    assert len(hint) <= 1
    assert all(line.startswith("  hint: ") for line in hint)
    assert "Traceback" not in program.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"in", "task.py", "stdout", "stderr"}


def test_an_executor_that_there_is_not_is_refused(run: Starter, tmp_path: Path) -> None:
    """With 2 and the names of those that there are; nothing is created, and nothing has run."""
    (tmp_path / "in").write_text(lines("a"))
    program = run("run", "-i", "in", "--executor", "nonsense", "--call", "task:work")

    assert program.process.returncode == 2
    assert program.stderr.startswith('error: --executor "nonsense" (command line): ')
    assert "executor must be threads, processes or dask\n" in program.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"in", "task.py", "stdout", "stderr"}


def test_the_environment_may_name_the_executor(run: Starter, tmp_path: Path) -> None:
    """As any other key: calls run in processes, and commands are refused."""
    (tmp_path / "in").write_text(lines("good"))
    program = run("run", "-i", "in", "--call", "task:work", PIPELINE_EXECUTOR="processes")

    assert program.process.returncode == 0
    ((pid,),) = pids(tmp_path).values()
    assert pid != program.process.pid
    refused = run("run", "-i", "/etc/hostname", "--", "true", PIPELINE_EXECUTOR="processes")
    assert refused.process.returncode == 2


def test_the_simulation_fails_alike_in_processes_and_in_threads(run: Starter) -> None:
    """The same seed, the same retries and failures, job by job."""
    options = ("run", "--jobs", "20", "--time-scale", "0.01", "--seed", "1")
    told = [
        sorted(line.partition("] ")[2] or line for line in program.log_lines if "failed" in line)
        for program in (run(*options, "--executor", "processes"), run(*options))
    ]

    assert told[0] == told[1] != []


def test_loading_a_module_is_no_time_of_a_call(run: Starter, tmp_path: Path) -> None:
    """It takes longer than the time limit, and no call does."""
    (tmp_path / "slow_to_load.py").write_text(
        "import threading\nthreading.Event().wait(0.8)\ndef work(record):\n    return record\n"
    )
    (tmp_path / "in").write_text(lines("a", "b"))
    options = ("--executor", "processes", "--timeout", "0.5s", "--max-retries", "0", "-j", "1")
    program = run("run", "-i", "in", *options, "--call", "slow_to_load:work")

    assert program.process.returncode == 0, program.stderr
