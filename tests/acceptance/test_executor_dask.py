"""`--executor dask`: the program over a real cluster, whose parts are killed, as is the program itself."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from dynamic_pipeline.journal.processes import environment, own_processes

from tests.acceptance.conftest import PIPELINE, ROOT, Program, Starter
from tests.dask_cluster import RealCluster, connected, real_cluster
from tests.doubles import PATIENCE_S, wait_until
from tests.journaling import is_sound, rows
from tests.living import children, lives

_SOON_S = 5.0
_LEEWAY_S = 1.0  # of a machine that others use, too

Options = tuple[str, ...]


@pytest.fixture(scope="module", autouse=True)
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCluster]:
    """A scheduler and two workers of two threads each, all started in another folder than the program."""
    with real_cluster(tmp_path_factory.mktemp("cluster"), 2, threads=2) as one:
        yield one


@pytest.fixture(scope="module", autouse=True)  # before the first test looks which threads there are
def client(cluster: RealCluster) -> Iterator[Any]:
    """Ours, to look into it."""
    with connected(cluster, 2) as one:
        yield one


@pytest.fixture(autouse=True)
def whole(client: Any) -> Iterator[None]:
    """Whatever a test has killed is there again for the next one, and nothing of it runs."""
    yield
    wait_until(lambda: len(client.nthreads()) >= 2)
    wait_until(lambda: not any(client.processing().values()))


@pytest.fixture
def on(cluster: RealCluster) -> Options:
    """The options that name the cluster."""
    return "--executor", "dask", "--dask", cluster.address


LOCAL = ("--executor", "dask", "--dask", "local")


def worker_pids(client: Any) -> list[int]:
    return sorted(client.run(os.getpid).values())


def lines(*records: object) -> str:
    return "".join(f"{record}\n" for record in records)


def last_line(text: str) -> str:
    return text.splitlines()[-1]


def words(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


def again(folder: Path, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    """The program once more in the same folder, to its end."""
    return subprocess.run(
        [*PIPELINE, *args],
        cwd=folder,
        env={**os.environ, **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def module(folder: Path, text: str) -> str:
    """A module in *folder* with a name that no worker has loaded yet."""
    name = "mine_" + re.sub(r"\W", "_", folder.name)
    (folder / f"{name}.py").write_text(textwrap.dedent(text))
    return name


def recorded(folder: Path) -> Counter[str]:
    """The records that the journal has as done, each with one attempt that says so."""
    journal = folder / "logs" / "journal.db"
    assert is_sound(journal)
    return Counter(
        bytes(payload).decode()
        for (payload,) in rows(
            journal,
            "SELECT payload FROM jobs JOIN attempts USING (job) WHERE state = 'S' AND outcome = 'succeeded'",
        )
    )


def marked(run_id: str) -> list[int]:
    """Processes of a run on this machine, wherever they hang in the tree."""
    mark = f"PIPELINE_RUN_ID={run_id}".encode()
    return [process.pid for process in own_processes() if mark in environment(process.pid)]


def run_id(program: Program) -> str:
    match = re.search(r" run (\S+), log ", program.log)
    assert match is not None
    return match[1]


# A command that says that it runs, notices another one of its record, and ends when it may.
COMMAND = """
if test -e "pid.$1" && grep -qs '^State:[[:space:]]*[RSDTtI]' "/proc/$(tail -n 1 "pid.$1")/status"; then touch twice; fi
echo $$ >> "pid.$1"; echo "$1" >> began
until test -e go; do sleep 0.02; done
echo "$1" >> done; echo "out $1"
"""

# The same as a call.
CALL = """
    import os, time
    from pathlib import Path
    from dynamic_pipeline import current_job

    FOLDER = Path(__file__).parent

    def note(name, what):
        fd = os.open(FOLDER / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(fd, f"{what}\\n".encode())
        os.close(fd)

    def call(record):
        note("began", record)
        while not (FOLDER / "go").exists():
            if current_job().should_stop:
                note("told", record)
                raise RuntimeError("told")
            time.sleep(0.01)  # as a function does that asks now and then; no test waits by it
        note("done", record)
        return record
    """


def work(folder: Path, kind: str) -> Options:
    """The end of a command line."""
    if kind == "command":
        return "--", "sh", "-c", COMMAND, "sh"
    return "--call", f"{module(folder, CALL)}:call"


def are_running(folder: Path, count: int) -> Callable[[], bool]:
    """So many have begun, and the programs of those that are commands are noted by their workers' reapers."""

    def are() -> bool:
        if len(words(folder / "began")) < count:
            return False
        now_s = float(Path("/proc/uptime").read_text().split()[0])
        ticks = os.sysconf("SC_CLK_TCK")
        ages = [
            now_s - int(process.start) / ticks
            for process in own_processes()
            if process.pid in command_pids(folder)
        ]
        return all(age > 0.2 for age in ages)

    return are


def command_pids(folder: Path) -> list[int]:
    return [int(pid) for path in folder.glob("pid.*") for pid in path.read_text().split()]


# ── workers that die ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("kind", "whom"), [("command", "worker"), ("command", "nanny and worker"), ("call", "worker")]
)
def test_nothing_is_lost_or_charged_when_a_worker_is_killed(
    start: Starter, cluster: RealCluster, client: Any, on: Options, tmp_path: Path, kind: str, whom: str
) -> None:
    """Its jobs run again elsewhere, not two of a record at once: all are done at their first attempt, exit 0."""
    third = cluster.worker("third") if whom != "worker" else None
    client.wait_for_workers(2 if third is None else 3, timeout=PATIENCE_S)
    threads = 4 if third is None else 5
    reports = ("--results", "results.jsonl", *(("--output", "out") if kind == "command" else ()))
    program = start(
        *("run", "-i", "-", "-j", str(threads), *reports, *on, *work(tmp_path, kind)),
        stdin=lines(*range(10)),
    )
    wait_until(are_running(tmp_path, threads))
    if third is None:
        os.kill(worker_pids(client)[0], signal.SIGKILL)
        wait_until(lambda: len(words(tmp_path / "began")) > threads)
    else:
        os.killpg(third.pid, signal.SIGKILL)
        third.wait(PATIENCE_S)
        wait_until(lambda: len(client.nthreads()) == 2)
    (tmp_path / "go").touch()

    assert 0 == program.wait()
    assert last_line(program.stderr) == "0 failed, 10 ok, 0 not run — exit 0"
    results = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert [("succeeded", 1)] * 10 == [(result["state"], len(result["attempts"])) for result in results]
    assert sorted(map(str, range(10))) == sorted(words(tmp_path / "done"))
    assert recorded(tmp_path) == Counter(map(str, range(10)))
    assert not (tmp_path / "twice").exists()


def test_a_job_that_kills_its_worker_each_time_fails_alone(start: Starter, tmp_path: Path) -> None:
    """On a cluster of our own: tried alone and then no more; those beside it are done at their first attempt."""
    name = module(
        tmp_path,
        """
        import os, time
        from pathlib import Path

        FOLDER = Path(__file__).parent

        def call(record):
            if record == "dies":
                with open(FOLDER / "deaths", "a") as deaths:
                    print("dead", file=deaths)
                os._exit(1)
            time.sleep(0.02)
            return record
        """,
    )
    program = start(
        *("run", "-i", "-", "-j", "2", "--results", "results.jsonl", *LOCAL, "--call", f"{name}:call"),
        stdin=lines("a", "b", "dies", *range(20)),
    )

    assert 1 == program.wait()
    assert last_line(program.stderr) == "1 failed, 22 ok, 0 not run — exit 1"
    assert "its worker died, and another one when it ran alone" in program.stderr
    results = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert {1} == {len(result["attempts"]) for result in results}
    assert ["dead"] * 2 == words(tmp_path / "deaths")


# ── the program is killed ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", ["command", "call"])
@pytest.mark.parametrize("where", ["standing", "local"])
def test_a_program_that_is_killed_leaves_nothing_running_and_is_resumed(
    start: Starter, on: Options, tmp_path: Path, kind: str, where: str
) -> None:
    """What ran on the cluster is ended, or told, soon; --resume does the rest, and each record is on record once."""
    options = on if where == "standing" else LOCAL
    (tmp_path / "in").write_text(lines(*range(12)))
    line = ("run", "-i", "in", "-j", "2", "-q", "--kill-grace", "500ms", *options, *work(tmp_path, kind))
    program = start(*line)
    wait_until(are_running(tmp_path, 2))
    local = [] if where == "standing" else marked_by(program)
    program.process.kill()
    began_s = time.monotonic()
    program.process.wait()
    wait_until(lambda: not any(map(lives, (*command_pids(tmp_path), *local))))
    took_s = time.monotonic() - began_s
    if kind == "call" and where == "standing":
        wait_until(lambda: len(words(tmp_path / "told")) == 2)
    begun = len(words(tmp_path / "began"))
    (tmp_path / "go").touch()
    rest = again(tmp_path, "run", "--resume", *line[1:])

    assert took_s < 3
    assert begun < 12
    assert (0, "0 failed, 12 ok, 0 not run — exit 0") == (rest.returncode, last_line(rest.stderr))
    assert sorted(map(str, range(12))) == sorted(words(tmp_path / "done"))
    assert recorded(tmp_path) == Counter(map(str, range(12)))
    assert not (tmp_path / "twice").exists()


def marked_by(program: Program) -> list[int]:
    """All that the program has started, wherever it hangs: its cluster, its workers, what they run."""
    program.wait_for("pipeline running")
    found = [*children(program.process.pid), *marked(run_id(program))]
    assert len(found) > 2
    return found


def test_what_was_done_before_a_kill_is_not_done_again(start: Starter, on: Options, tmp_path: Path) -> None:
    """Half of the records end before the kill: they are done once, the others once or, if they ran, begun twice."""
    script = 'echo "$1" >> began; test "$1" -lt 6 || until test -e go; do sleep 0.02; done; echo "$1" >> done'
    (tmp_path / "in").write_text(lines(*range(12)))
    line = ("run", "-i", "in", "-j", "2", "-q", *on, "--kill-grace", "200ms", "--", "sh", "-c", script, "sh")
    program = start(*line)
    wait_until(lambda: len(words(tmp_path / "began")) == 8)
    wait_until(lambda: recorded(tmp_path).total() == 6)
    program.process.kill()
    program.process.wait()
    (tmp_path / "go").touch()
    rest = again(tmp_path, "run", "--resume", *line[1:])

    assert (0, "0 failed, 12 ok, 0 not run — exit 0") == (rest.returncode, last_line(rest.stderr))
    assert "6 had been done before" in rest.stderr
    assert recorded(tmp_path) == Counter(map(str, range(12)))
    assert all(words(tmp_path / "began").count(str(number)) == 1 for number in range(6))


# ── the scheduler goes ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", ["command", "call"])
def test_a_run_whose_scheduler_is_killed_ends_soon_and_is_resumed(
    start: Starter, tmp_path: Path, kind: str
) -> None:
    """Exit 4 and one line that says why; commands are ended, nothing has failed, and threads can do the rest."""
    (tmp_path / "in").write_text(lines(*range(12)))
    with real_cluster(tmp_path / "own", 1, threads=2) as own:
        line = ("run", "-i", "in", "-j", "2", "-q", "--kill-grace", "500ms")
        options = ("--executor", "dask", "--dask", own.address)
        program = start(*line, *options, *work(tmp_path, kind))
        wait_until(are_running(tmp_path, 2))
        own.scheduler.kill()
        began_s = time.monotonic()
        code = program.wait()
        took_s = time.monotonic() - began_s
        wait_until(lambda: not any(map(lives, command_pids(tmp_path))))
        if kind == "call":
            wait_until(lambda: len(words(tmp_path / "told")) == 2)
    (tmp_path / "go").touch()
    rest = again(tmp_path, *line, "--resume", *work(tmp_path, kind))

    assert 4 == code
    assert took_s < _SOON_S
    assert 1 == program.stderr.count("pipeline: error: the connection to the Dask scheduler is lost\n")
    assert "Traceback" not in program.stderr
    assert re.fullmatch(r"0 failed, 0 ok, \d+ not run — exit 4", last_line(program.stderr))
    assert (0, "0 failed, 12 ok, 0 not run — exit 0") == (rest.returncode, last_line(rest.stderr))
    assert recorded(tmp_path) == Counter(map(str, range(12)))


# ── Ctrl+C ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", ["command", "call"])
def test_the_first_signal_drains(start: Starter, on: Options, tmp_path: Path, kind: str) -> None:
    """What was accepted is done on the cluster; a source without end is drawn from no more."""
    read, write = os.pipe()
    os.write(write, lines(*range(6)).encode())
    program = start("run", "-i", "-", "-j", "2", *on, *work(tmp_path, kind), stdin=read)
    os.close(read)
    wait_until(are_running(tmp_path, 2))
    program.signal(signal.SIGINT)
    program.wait_for("signal received")
    (tmp_path / "go").touch()
    code = program.wait()
    os.close(write)

    assert 128 + signal.SIGINT == code
    assert "6 ok" in last_line(program.stderr)
    assert sorted(map(str, range(6))) == sorted(words(tmp_path / "done"))


def test_the_second_signal_ends_commands(start: Starter, on: Options, tmp_path: Path) -> None:
    """TERM, which one answers with its last words, and after the grace KILL; exit 130, and nothing is charged."""
    script = """
    if test "$1" = polite; then trap "echo bye; exit 0" TERM; else trap "" TERM; fi
    echo $$ >> "pid.$1"; echo "$1" >> began; while :; do sleep 0.02; done
    """
    program = start(
        *("run", "-i", "-", "-j", "2", "--kill-grace", "1s", *on, "--", "sh", "-c", script, "sh"),
        stdin=lines("polite", "deaf", "never"),
    )
    wait_until(are_running(tmp_path, 2))
    program.signal(signal.SIGINT)
    program.wait_for("signal received")
    program.signal(signal.SIGQUIT)  # as a second Ctrl+C, without the second that must be between two
    began_s = time.monotonic()
    code = program.wait()
    took_s = time.monotonic() - began_s

    assert code in (128 + signal.SIGINT, 128 + signal.SIGQUIT)
    assert 0.9 < took_s < 2 + _LEEWAY_S
    assert program.stdout == "bye\n"
    assert not any(map(lives, command_pids(tmp_path)))
    assert last_line(program.stderr) == f"0 failed, 0 ok, 3 not run — exit {code}"
    journal = tmp_path / "logs" / "journal.db"
    assert [(0,)] * 3 == rows(journal, "SELECT attempts FROM jobs")


def test_the_second_ctrl_c_tells_calls(start: Starter, on: Options, tmp_path: Path) -> None:
    """`should_stop` is true on the cluster; the program leaves with 130 within the grace, and none has failed."""
    program = start(
        *("run", "-i", "-", "-j", "2", "--kill-grace", "1s", *on, *work(tmp_path, "call")),
        stdin=lines(1, 2, 3),
    )
    wait_until(are_running(tmp_path, 2))
    began_s = time.monotonic()
    program.signal(signal.SIGINT)
    wait_until(lambda: press_again(program, began_s))
    pressed_s = time.monotonic()
    code = program.wait()
    took_s = time.monotonic() - pressed_s

    assert 128 + signal.SIGINT == code
    assert took_s < 2 + _LEEWAY_S
    assert ["1", "2"] == sorted(words(tmp_path / "told"))
    assert last_line(program.stderr).startswith("0 failed, 0 ok, 3 not run")


def press_again(program: Program, since_s: float) -> bool:
    """A second Ctrl+C counts when at least a second has gone by."""
    if time.monotonic() - since_s < 1.1:
        return False
    program.signal(signal.SIGINT)
    return True


def test_ctrl_c_at_a_terminal_does_not_reach_the_local_workers(start: Starter, tmp_path: Path) -> None:
    """It goes to all of the program's group: the run drains, and all is done at the first attempt."""
    program = start(
        *("run", "-i", "-", "-j", "2", "--results", "results.jsonl", *LOCAL, *work(tmp_path, "call")),
        stdin=lines(*range(6)),
    )
    wait_until(are_running(tmp_path, 2))
    program.wait_for("pipeline running")
    os.killpg(program.process.pid, signal.SIGINT)
    program.wait_for("signal received")
    (tmp_path / "go").touch()

    assert program.wait() == 0
    assert last_line(program.stderr) == "0 failed, 6 ok, 0 not run — exit 0"
    assert 6 == len(words(tmp_path / "began"))
    assert "Traceback" not in program.stderr


# ── --timeout ───────────────────────────────────────────────────────────────────────────────────────


def test_a_command_that_takes_too_long_is_ended_and_tried_again(
    start: Starter, on: Options, tmp_path: Path
) -> None:
    """TERM, the grace, KILL, on the cluster; what it wrote is kept; the second try does well."""
    script = """
    test "$PIPELINE_JOB_ATTEMPT" = 1 || exit 0
    trap "echo \\"TERM $1\\" >> heard" TERM; echo $$ >> "pid.$1"; echo so far
    while :; do sleep 0.02; done
    """
    program = start(
        *("run", "-i", "-", "-j", "2", "--timeout", "1s", "--kill-grace", "300ms", "--max-retries", "1"),
        *("--results", "results.jsonl", "--output", "out", *on, "--", "sh", "-c", script, "sh"),
        stdin=lines("a", "b"),
    )

    assert program.wait() == 0
    results = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    for result in results:
        first, second = result["attempts"]
        assert "timeout after 1 s" == first["error"]
        assert 1.2 < first["elapsed_s"] < 1.4 + _LEEWAY_S
        assert 0 == second["exit"]
    assert Counter(words(tmp_path / "heard")) == {"TERM": 2, "a": 1, "b": 1}
    assert not any(map(lives, command_pids(tmp_path)))


def test_a_call_that_takes_too_long_fails_once(start: Starter, on: Options, tmp_path: Path) -> None:
    """It is told, not tried again, and does not hold the others; what it returns later is ignored."""
    name = module(
        tmp_path,
        """
        import time
        from pathlib import Path
        from dynamic_pipeline import current_job

        def call(record):
            if record == "slow":
                while not current_job().should_stop:
                    time.sleep(0.01)
                with open(Path(__file__).parent / "told", "a") as told:
                    print(current_job().attempt, file=told)
            return record
        """,
    )
    options = ("-j", "2", "--timeout", "500ms", "--results", "results.jsonl")
    program = start("run", "-i", "-", *options, *on, "--call", f"{name}:call", stdin=lines("slow", *range(5)))

    assert program.wait() == 1
    assert last_line(program.stderr) == "1 failed, 5 ok, 0 not run — exit 1"
    assert "FAILED timeout after 0.5 s" in program.stderr
    wait_until(lambda: words(tmp_path / "told") == ["1"])
    states = Counter(
        json.loads(line)["state"] for line in (tmp_path / "results.jsonl").read_text().splitlines()
    )
    assert {"succeeded": 5, "failed": 1} == states


@pytest.mark.parametrize("kind", ["command", "call"])
def test_the_wait_for_a_free_thread_is_not_part_of_the_time(
    run: Starter, on: Options, tmp_path: Path, kind: str
) -> None:
    """Twelve jobs of half a second for four threads, all sent at once: none takes longer than the second it has."""
    name = module(tmp_path, "import time\ndef call(record):\n    time.sleep(0.5)\n    return record\n")
    what = ("--call", f"{name}:call") if kind == "call" else ("--", "sh", "-c", "sleep 0.5", "sh")
    program = run("run", "-i", "-", "-j", "12", "--timeout", "1s", *on, *what, stdin=lines(*range(12)))

    assert program.process.returncode == 0
    assert last_line(program.stderr) == "0 failed, 12 ok, 0 not run — exit 0"


# ── commands ────────────────────────────────────────────────────────────────────────────────────────


def test_commands_end_as_on_this_machine(run: Starter, on: Options, tmp_path: Path) -> None:
    """Exit codes, signals, retries, what cannot be started, what it printed: the same report, field for field."""
    script = """
    case "$1" in
    ok) echo "out $PIPELINE_JOB_ATTEMPT"; echo err >&2;;
    third) test "$PIPELINE_JOB_ATTEMPT" = 3;;
    kill) kill -KILL $$;;
    term) kill -TERM $$;;
    *) echo "no $1"; exit "$1";;
    esac
    """
    records = ("ok", "third", "kill", "term", 1, 3, 75, 126, 127, 255)
    found = []
    for number, options in enumerate(((), on)):
        folder = f"out{number}"
        reports = ("--results", f"{folder}.jsonl", "--joblog", f"{folder}.tsv", "--output", folder)
        program = run(
            *("run", "-i", "-", "-j", "2", "--max-retries", "2", *reports, *options),
            *("--", "sh", "-c", script, "sh"),
            stdin=lines(*records),
        )
        outputs = {path.name: path.read_bytes() for path in (program.folder / folder).iterdir()}
        results = sorted((program.folder / f"{folder}.jsonl").read_text().splitlines(), key=job_number)
        found.append((program.process.returncode, list(map(lasting, results)), outputs))

    assert found[0] == found[1]


def job_number(line: str) -> int:
    return int(json.loads(line)["job"])


def lasting(line: str) -> dict[str, Any]:
    """What of a result is the same in each run."""
    result: dict[str, Any] = json.loads(line)
    for attempt in result["attempts"]:
        del attempt["started"], attempt["elapsed_s"]
    return result


@pytest.mark.parametrize("program_name", ["no-such-program", "/etc", "no-interpreter"])
def test_what_cannot_be_started_is_told_as_on_this_machine(
    run: Starter, on: Options, tmp_path: Path, program_name: str
) -> None:
    """The same code, text, output and number of tries; a text without `#!` is no program on either."""
    (tmp_path / "no-interpreter").write_text("echo it ran\n")
    (tmp_path / "no-interpreter").chmod(0o755)
    name = str(tmp_path / program_name) if program_name == "no-interpreter" else program_name
    found = []
    for options in ((), on):
        program = run(
            *("run", "-i", "-", "--results", "r.jsonl", "--output", "out", *options, "--", name),
            stdin=lines("a"),
        )
        (line,) = (program.folder / "r.jsonl").read_text().splitlines()
        found.append((program.process.returncode, lasting(line)))

    assert found[0] == found[1]


def test_outputs_are_shown_byte_for_byte_in_order(run: Starter, on: Options) -> None:
    """-k: five megabytes of any byte, then a line; stderr on stderr, stdout without a line of the log."""
    script = """
    if test "$1" = large; then exec "$0" -c 'import sys; sys.stdout.buffer.write(bytes(range(256)) * 20480)'; fi
    echo "out $1"; echo "err $1" >&2
    """
    program = run(
        *("run", "-i", "-", "-k", "-j", "2", *on, "--", "sh", "-c", script, sys.executable),
        stdin=lines("large", "small", "last"),
    )

    assert program.process.returncode == 0
    assert (program.folder / "stdout").read_bytes() == bytes(range(256)) * 20480 + b"out small\nout last\n"
    assert [line for line in program.stderr.splitlines() if line.startswith("err ")] == [
        "err small",
        "err last",
    ]


def test_tags_and_files_are_made_here(run: Starter, on: Options) -> None:
    """--tag puts the record before each line; --output has a file per job and stream."""
    script = 'echo "one $1"; echo two; echo err >&2'
    tagged = run("run", "-i", "-", "-k", "--tag", *on, "--", "sh", "-c", script, "sh", stdin=lines("a", "b"))
    kept = run("run", "-i", "-", "--output", "out", *on, "--", "sh", "-c", script, "sh", stdin=lines("a"))

    assert tagged.stdout == "a\tone a\na\ttwo\nb\tone b\nb\ttwo\n"
    assert kept.stdout == ""
    files = {path.name: path.read_text() for path in (kept.folder / "out").iterdir()}
    assert files == {"1.out": "one a\ntwo\n", "1.err": "err\n"}


def test_commands_know_their_job_and_run_in_our_folder(run: Starter, on: Options, tmp_path: Path) -> None:
    """The variables, the same key as on threads, and the folder of the program, not that of the workers."""
    script = 'echo "$PIPELINE_JOB_ID $PIPELINE_JOB_ATTEMPT $PIPELINE_JOB_SLOT $PIPELINE_JOB_KEY $PIPELINE_RUN_ID $PWD"'
    line = ("run", "-i", "in", "-k", "-j", "1", *on, "--", "sh", "-c", script)
    (tmp_path / "in").write_text(lines("a", "b"))
    first = run(*line)
    id_ = run_id(first)
    here = again(tmp_path, *line[:6], *line[10:])

    found = [line.split() for line in first.stdout.splitlines()]
    keys = [each[3] for each in found]
    assert [[str(n), "1", "1", keys[n - 1], id_, str(tmp_path)] for n in (1, 2)] == found
    assert keys == [each.split()[3] for each in here.stdout.splitlines()]
    assert 2 == len(set(keys))


def test_no_two_that_run_have_the_same_slot(run: Starter, on: Options) -> None:
    """Each command takes the slot's folder for itself while it runs, on whichever worker."""
    script = 'mkdir "slot.{%}" || exit 9; sleep 0.02; rmdir "slot.{%}"; echo {%}'
    program = run(
        *("run", "-i", "-", "-j", "4", "--max-retries", "0", *on, "-c", script + " # {}"),
        stdin=lines(*range(40)),
    )

    assert program.process.returncode == 0
    assert set(program.stdout.split()) <= {"1", "2", "3", "4"}


def test_too_much_output_fails_the_job_and_says_so(run: Starter, on: Options) -> None:
    """More than 16 MiB: not tried again, and the others are not touched by it."""
    script = 'if test "$1" = much; then head -c 16777217 /dev/zero; fi; echo "$1"'
    program = run(
        *("run", "-i", "-", "-j", "2", *on, "--", "sh", "-c", script, "sh"), stdin=lines("much", "little")
    )

    assert program.process.returncode == 1
    assert "it wrote 16777222 bytes to stdout; a cluster brings back 16777216 at the most" in program.stderr
    assert last_line(program.stderr) == "1 failed, 1 ok, 0 not run — exit 1"
    assert ", 0 retries" in program.stderr
    assert program.stdout == "little\n"


# ── --dask local ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.soak  # the same of the library is in tests/threads/test_dask.py
def test_a_local_cluster_follows_the_limit_and_runs_nothing_twice(start: Starter, tmp_path: Path) -> None:
    """One worker, then three, then one, while it runs: never more calls than that, each record once."""
    (tmp_path / "jobs").write_text("1\n")
    program = start(
        *("run", "-i", "-", "--jobs-file", "jobs", "--set", "pipeline.check_interval=20ms", *LOCAL),
        *work(tmp_path, "call"),
        stdin=lines(*range(12)),
    )
    began = tmp_path / "began"
    wait_until(lambda: len(words(began)) == 1)
    (tmp_path / "jobs").write_text("3\n")
    wait_until(lambda: len(words(began)) == 3)
    workers = local_workers(program)
    assert 3 == len(workers)
    (tmp_path / "jobs").write_text("1\n")
    program.wait_for("removed worker (total 1)")
    assert 3 == len(words(began))
    (tmp_path / "go").touch()

    assert program.wait() == 0
    assert sorted(map(str, range(12))) == sorted(words(began))
    assert last_line(program.stderr) == "0 failed, 12 ok, 0 not run — exit 0"
    assert not marked(run_id(program))


def local_workers(program: Program) -> list[int]:
    """The processes of a local cluster that do the work: those below the one that the program has started."""
    (top,) = (each.pid for each in own_processes() if each.parent == program.process.pid)
    return [pid for pid in children(top) if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_prints_of_local_calls_are_on_stdout(run: Starter, tmp_path: Path) -> None:
    """With the log on stderr, as those of threads."""
    name = module(tmp_path, "def call(record):\n    print(record + '\\n', end='')\n")
    program = run("run", "-i", "-", *LOCAL, "--call", f"{name}:call", stdin=lines("a", "b"))

    assert (0, ["a", "b"]) == (program.process.returncode, sorted(program.stdout.split()))


def test_prints_of_local_calls_do_not_stand_between_results(run: Starter, tmp_path: Path) -> None:
    """--results -: stdout is a line of JSON per job, and what calls print goes to stderr."""
    name = module(tmp_path, "def call(record):\n    print('printed', end='')\n    return record\n")
    program = run(
        "run", "-i", "-", "--results", "-", *LOCAL, "--call", f"{name}:call", stdin=lines(*range(9))
    )

    assert program.process.returncode == 0
    assert {str(n) for n in range(9)} == {json.loads(line)["value"] for line in program.stdout.splitlines()}
    assert "printed" in program.stderr


# ── what cannot be used ─────────────────────────────────────────────────────────────────────────────


def refused(program: Program, code: int, text: str, hint: str = "") -> None:
    """One line, the way out where there is one, and nothing was created."""
    assert code == program.wait()
    told = program.stderr.splitlines()
    assert re.match(rf"pipeline: error: {text}", told[0]), told
    assert 1 + bool(hint) == len(told)
    if hint:
        assert told[1].startswith("  hint: ")
        assert hint in told[1]
    assert program.stdout == ""
    assert not (program.folder / "logs" / "journal.db").exists()


@contextmanager
def http_server() -> Iterator[str]:
    """Something that listens, and is no scheduler."""
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    serving = threading.Thread(target=server.serve_forever, name="http")
    serving.start()
    try:
        yield f"tcp://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


def test_where_no_scheduler_answers_the_program_says_so(start: Starter) -> None:
    """Nobody listens, somebody is silent, somebody speaks HTTP: one line, exit 4, in about the time that it names."""
    with (
        closing(socket.create_server(("127.0.0.1", 0))) as silent,
        closing(socket.create_server(("127.0.0.1", 0))) as taken,
        http_server() as web,
    ):
        nobody = taken.getsockname()[1]
        taken.close()
        addresses = (f"127.0.0.1:{nobody}", f"tcp://127.0.0.1:{silent.getsockname()[1]}", web)
        began_s = time.monotonic()
        programs = [
            start("run", "-i", "-", "--executor", "dask", "--dask", address, "--", "echo", stdin="a\n")
            for address in addresses
        ]
        for program, address in zip(programs, addresses, strict=True):
            refused(program, 4, f"--dask {address}: no Dask scheduler answers there within 10 s")
        took_s = time.monotonic() - began_s

    assert took_s < 10 + _SOON_S


def test_what_is_no_address_is_refused_at_once(start: Starter) -> None:
    """Exit 2, and the line says what is wrong with it."""
    began_s = time.monotonic()
    addresses = {
        "foo": "missing port number in address 'foo'",
        "tcp://:::": "invalid address ':::'",
        "bar://x": "unknown address scheme 'bar'",
        "tls://127.0.0.1:1": "TLS expects",
    }
    programs = {
        address: start("run", "-i", "-", "--executor", "dask", "--dask", address, "--", "echo", stdin="a\n")
        for address in addresses
    }
    for address, program in programs.items():
        refused(program, 2, f"--dask {address}: {re.escape(addresses[address])}")

    assert time.monotonic() - began_s < _SOON_S


def test_without_the_extra_the_program_tells_what_to_install(run: Starter, tmp_path: Path) -> None:
    """Exit 2: `distributed` cannot be imported."""
    (tmp_path / "hidden" / "distributed").mkdir(parents=True)
    (tmp_path / "hidden" / "distributed" / "__init__.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'distributed'\", name='distributed')\n"
    )
    program = run("run", "-i", "-", *LOCAL, "--", "echo", stdin="a\n", PYTHONPATH=str(tmp_path / "hidden"))

    hint = "pip install 'dynamic-pipeline[dask]'"
    refused(program, 2, "--executor dask needs distributed, which is not installed", hint)


@contextmanager
def one_more(cluster: RealCluster, client: Any, folder: Path) -> Iterator[None]:
    """A third worker that finds modules in *folder* first, gone afterwards."""
    worker = cluster.worker("odd", "--no-nanny", PYTHONPATH=f"{folder}:{ROOT}")
    try:
        client.wait_for_workers(3, timeout=PATIENCE_S)
        yield
    finally:
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait(PATIENCE_S)
        wait_until(lambda: len(client.nthreads()) == 2)


def test_a_worker_with_another_version_is_refused(
    start: Starter, cluster: RealCluster, client: Any, on: Options, tmp_path: Path
) -> None:
    """Exit 2, with both versions and the worker's address."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(
        "import dynamic_pipeline\ndynamic_pipeline.__version__ = '0.0.9'\n"
    )
    with one_more(cluster, client, tmp_path / "site"):
        program = start("run", "-i", "-", *on, "--", "echo", stdin="a\n")
        text = r"--dask \S+: worker tcp://\S+ is Python 3\.\d+ with dynamic-pipeline 0\.0\.9, this is Python"
        refused(program, 2, text, "they must be the same")


def test_a_worker_without_the_package_is_refused(
    start: Starter, cluster: RealCluster, client: Any, on: Options, tmp_path: Path
) -> None:
    """Exit 2, with what to install there."""
    (tmp_path / "site" / "dynamic_pipeline").mkdir(parents=True)
    (tmp_path / "site" / "dynamic_pipeline" / "__init__.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'dynamic_pipeline'\")\n"
    )
    with one_more(cluster, client, tmp_path / "site"):
        program = start("run", "-i", "-", *on, "--", "echo", stdin="a\n")
        refused(program, 2, r"--dask \S+: worker tcp://\S+ cannot load dynamic-pipeline: ", "pip install")


def test_a_worker_that_lacks_the_module_is_refused(start: Starter, on: Options, tmp_path: Path) -> None:
    """Exit 2: it can be imported here, and not there."""
    name = module(
        tmp_path,
        """
        import os
        if "HERE" not in os.environ:
            raise ModuleNotFoundError("No module named 'pandas'")

        def call(record):
            return record
        """,
    )
    program = start("run", "-i", "-", *on, "--call", f"{name}:call", stdin="a\n", HERE="1")

    text = rf"--dask \S+: worker tcp://\S+: --call {name}:call: cannot import {name}: ModuleNotFoundError"
    refused(program, 2, text, "put the module on a file system that all machines share")


def test_a_module_that_was_edited_since_is_refused(on: Options, tmp_path: Path) -> None:
    """A standing worker has the old one loaded: exit 2 and the way out, in place of calls of the old function."""
    name = module(tmp_path, "def call(record):\n    return 'old'\n")
    line = ("run", "-i", "in", *on, "--call", f"{name}:call")
    (tmp_path / "in").write_text(lines(*range(4)))
    first = again(tmp_path, *line)
    module(tmp_path, "def call(record):\n    return 'new'\n")
    second = again(tmp_path, *line)

    assert 0 == first.returncode
    assert 2 == second.returncode
    error, hint = second.stderr.splitlines()
    assert re.match(rf"pipeline: error: --dask \S+: worker \S+ has loaded another version of {name}", error)
    assert "restart the workers" in hint


def test_a_cluster_without_workers_waits_for_one(start: Starter, tmp_path: Path) -> None:
    """The log warns of it, and the jobs are done when a worker comes."""
    with real_cluster(tmp_path / "own", 0) as own:
        program = start(
            *("run", "-i", "-", "--executor", "dask", "--dask", own.address, "--", "echo"), stdin="a\nb\n"
        )
        program.wait_for("warning: the Dask cluster has no workers yet; jobs wait for one")
        own.worker("late")

        assert program.wait() == 0
    assert ["a", "b"] == sorted(program.stdout.split())
