"""What the journal tells and how it is looked after: beside a run, after a kill, where there is none, where it is damaged."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from dynamic_pipeline.journal.lock import JournalLock

from tests.acceptance.conftest import PIPELINE
from tests.doubles import wait_until

WAITING = "touch going; until test -e go; do sleep 0.01; done"
COUNTS = ("succeeded", "failed", "held", "running", "retrying", "queued", "unfinished")


def pipeline(folder: Path, *args: str, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*PIPELINE, *args], cwd=folder, capture_output=True, input=stdin, timeout=60, check=False
    )


def run(folder: Path, *options: str, script: str, stdin: bytes | None = None) -> int:
    given = ["-i", "in", "-q", "--max-retries", "0", *options, "--", "sh", "-c", script, "sh"]
    return pipeline(folder, "run", *given, stdin=stdin).returncode


def told(folder: Path, *args: str) -> list[str]:
    """The lines of a command that ends well."""
    done = pipeline(folder, *args)
    assert (0, b"") == (done.returncode, done.stderr)
    return done.stdout.decode().splitlines()


def as_json(folder: Path, *args: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in told(folder, *args)]


def counts(status: dict[str, Any]) -> dict[str, int]:
    return {name: status[name] for name in COUNTS if status[name]}


@contextmanager
def going(folder: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """A run whose commands wait for the file `go`."""
    (folder / "in").write_text("a\nb\nc\n")
    given = ["-i", "in", "-q", "-j", "2", *options, "--", "sh", "-c", WAITING, "sh"]
    with subprocess.Popen(
        [*PIPELINE, "run", *given], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            wait_until((folder / "going").exists)
            wait_until(lambda: attempts(folder) == 3)
            yield process
        finally:
            (folder / "go").touch()
            if process.poll() is None:
                process.wait(60)


def attempts(folder: Path) -> int:
    """Starts on record: two that run, and one of the look-ahead."""
    connection = sqlite3.connect(f"file:{folder / 'logs' / 'journal.db'}?mode=ro", uri=True)
    try:
        return int(connection.execute("SELECT count(*) FROM attempts").fetchone()[0])
    finally:
        connection.close()


# ── status, runs ────────────────────────────────────────────────────────────────────────────────────


def test_beside_a_run_its_state_is_told(tmp_path: Path) -> None:
    """And nothing of it is held up: it ends as it would have."""
    with going(tmp_path) as process:
        (status,) = as_json(tmp_path, "status", "--json")
        (line,) = told(tmp_path, "status")
        (listed,) = as_json(tmp_path, "runs", "--json")
    (after,) = as_json(tmp_path, "status", "--json")

    assert ("running", None, None, {"running": 3}) == (
        status["state"],
        status["ended"],
        status["exit_code"],
        counts(status),
    )
    assert re.fullmatch(r"\S+  running  \S+  in  0 succeeded, 0 failed, 3 started", line)
    assert {**status, "elapsed_s": 0} == {**listed, "elapsed_s": 0}
    assert (0, "ended", 0, {"succeeded": 3}) == (
        process.returncode,
        after["state"],
        after["exit_code"],
        counts(after),
    )


def test_watching_ends_with_the_run(tmp_path: Path) -> None:
    """A line a second, the last one tells how it ended."""
    with (
        going(tmp_path),
        subprocess.Popen(
            [*PIPELINE, "status", "--watch", "--json"], cwd=tmp_path, stdout=subprocess.PIPE
        ) as watching,
    ):
        assert watching.stdout is not None
        first = json.loads(watching.stdout.readline())
        (tmp_path / "go").touch()
        *_, last = watching.stdout.read().splitlines()

    assert (0, "running", "ended") == (watching.returncode, first["state"], json.loads(last)["state"])


def test_a_killed_run_is_called_so_before_and_after_it_is_put_in_order(tmp_path: Path) -> None:
    """When it ended nobody knows; what it left runs again."""
    with going(tmp_path) as process:
        process.kill()
        process.wait()
        (status,) = as_json(tmp_path, "status", "--json")
        (line,) = told(tmp_path, "status")
        (tmp_path / "go").touch()
        assert 0 == run(tmp_path, "--resume", script=WAITING)
    newest, oldest = as_json(tmp_path, "runs", "--json")

    assert ("killed", None, None, {"unfinished": 3}) == (
        status["state"],
        status["ended"],
        status["elapsed_s"],
        counts(status),
    )
    assert "  killed  " in line
    assert ("resume", "ended", {"succeeded": 3}) == (newest["mode"], newest["state"], counts(newest))
    assert (status["run"], "killed", None) == (oldest["run"], oldest["state"], oldest["ended"])


def test_the_number_of_a_killed_run_may_be_another_process_by_now(tmp_path: Path) -> None:
    """Here it is ours: who runs is who holds the lock."""
    (tmp_path / "in").write_text("a\n")
    run(tmp_path, script="true")
    connection = sqlite3.connect(tmp_path / "logs" / "journal.db")
    connection.execute("UPDATE runs SET ended_us = NULL, outcome = NULL, pid = 1")
    connection.commit()
    connection.close()

    assert ["killed"] == [status["state"] for status in as_json(tmp_path, "status", "--json")]
    lock = JournalLock(tmp_path / "logs" / "journal.db")
    lock.acquire()  # somebody else, who prunes
    try:
        assert ["killed"] == [status["state"] for status in as_json(tmp_path, "status", "--json")]
    finally:
        lock.release()


def test_the_latest_runs_are_listed_first(tmp_path: Path) -> None:
    """As many as are asked for, each with its exit code."""
    (tmp_path / "in").write_text("a\n")
    for script in ("true", "false", "true"):
        run(tmp_path, script=script)

    assert [0, 1, 0] == [one["exit_code"] for one in as_json(tmp_path, "runs", "--json")]
    assert [0, 1] == [one["exit_code"] for one in as_json(tmp_path, "runs", "--json", "-n", "2")]
    assert [" with exit code 0  ", " with exit code 1  "] == [
        re.findall(" with exit code .  ", line)[0] for line in told(tmp_path, "runs", "-n", "2")
    ]


# ── failed ──────────────────────────────────────────────────────────────────────────────────────────

BAD = [b"b b", b"caf\xe9", b"\x1b[31mred", "ü".encode()]
FAILING = 'case $1 in good*) ;; *) echo "no $1" >&2; exit 3;; esac'


def with_failures(folder: Path) -> None:
    (folder / "in").write_bytes(b"\n".join([b"good 1", *BAD, b"good 2"]) + b"\n")
    assert 1 == run(folder, "-j", "1", script=FAILING)


def test_what_failed_is_told_for_people(tmp_path: Path) -> None:
    """One line each: where it stood, what it was, why; nothing in it speaks to the terminal."""
    with_failures(tmp_path)
    lines = told(tmp_path, "failed")

    assert 4 == len(lines)
    assert "job 2  in:2  b b  failed  exit 3" == lines[0]
    assert not any("\x1b" in line for line in lines)


@pytest.mark.parametrize(
    ("name", "options"), [("nul", ("-0", "-i", "-")), ("records", ("-i", "-"))], ids=["nul", "records"]
)
def test_what_failed_can_be_fed_to_a_run(tmp_path: Path, name: str, options: tuple[str, ...]) -> None:
    """Byte for byte."""
    with_failures(tmp_path)
    done = pipeline(tmp_path, "failed", "--format", name)
    again = pipeline(
        tmp_path,
        *("run", *options, "--durability", "off", "-k", "--", "printf", "%s|"),
        stdin=done.stdout,
    )

    assert (0, 0) == (done.returncode, again.returncode)
    assert (b"\0" if name == "nul" else b"\n").join([*BAD, b""]) == done.stdout
    assert b"".join(bad + b"|" for bad in BAD) == again.stdout.replace(b"\n", b"")


def test_what_failed_is_told_as_json(tmp_path: Path) -> None:
    """With the code and the number of tries."""
    with_failures(tmp_path)
    jobs = as_json(tmp_path, "failed", "--format", "jsonl")

    assert [(2, "failed", 1, "in", 2, 3, None)] == [
        tuple(jobs[0][key] for key in ("job", "state", "attempts", "source", "line", "exit", "signal"))
    ]
    assert "b b" == jobs[0]["record"]


def test_records_that_were_split_by_nul_come_back_whole(tmp_path: Path) -> None:
    """Newlines and all."""
    (tmp_path / "in").write_bytes(b"a\nb\0good\0 c \n\0")
    assert 1 == run(tmp_path, "-0", script=FAILING)

    assert b"a\nb\0 c \n\0" == pipeline(tmp_path, "failed", "--format", "nul").stdout


def test_without_failures_there_is_nothing_to_tell(tmp_path: Path) -> None:
    """No line, exit 0; an unknown format is a mistake of the caller's."""
    (tmp_path / "in").write_text("a\n")
    run(tmp_path, script="true")
    wrong = pipeline(tmp_path, "failed", "--format", "xml")

    assert [] == told(tmp_path, "failed")
    assert (2, b"pipeline: error: --format xml: it must be text, records, nul or jsonl\n") == (
        wrong.returncode,
        wrong.stderr,
    )


# ── backup, prune ───────────────────────────────────────────────────────────────────────────────────


def test_a_backup_beside_a_run_is_a_whole_journal(tmp_path: Path) -> None:
    """What is committed by then is in it, for its owner only; a file that is there is not written over."""
    with going(tmp_path):
        assert [] == told(tmp_path, "journal", "backup", "copy.db")
    copy = tmp_path / "copied"
    copy.mkdir()
    (tmp_path / "copy.db").rename(copy / "journal.db")
    again = pipeline(tmp_path, "journal", "backup", "copied/journal.db")

    (status,) = as_json(tmp_path, "status", "--json", "--state-dir", "copied")
    assert {"unfinished": 3} == counts(status)
    assert 0o600 == (copy / "journal.db").stat().st_mode & 0o777
    assert (4, True) == (again.returncode, b"exists already" in again.stderr)


def test_pruning_forgets_what_is_over_and_old(tmp_path: Path) -> None:
    """But not the latest runs."""
    (tmp_path / "in").write_text("a\n")
    for _ in range(3):
        run(tmp_path, script="true")

    assert ["0 forgotten"] == told(tmp_path, "journal", "prune")
    assert ["0 forgotten"] == told(tmp_path, "journal", "prune", "--older-than", "0s")
    assert ["2 forgotten"] == told(tmp_path, "journal", "prune", "--older-than", "0s", "--keep-runs", "1")
    assert 1 == len(told(tmp_path, "runs"))


def test_pruning_leaves_a_killed_run_as_it_is(tmp_path: Path) -> None:
    """Whoever resumes it has to find what it left running."""
    with going(tmp_path) as process:
        process.kill()
        process.wait()
        assert ["0 forgotten"] == told(tmp_path, "journal", "prune", "--older-than", "0s", "--keep-runs", "0")
        connection = sqlite3.connect(tmp_path / "logs" / "journal.db")
        open_ones = connection.execute("SELECT count(*) FROM attempts WHERE outcome IS NULL").fetchone()
        connection.close()

    assert (3,) == open_ones


@pytest.mark.parametrize("command", [("prune",), ("recover",)])
def test_what_changes_the_journal_waits_for_no_run(tmp_path: Path, command: tuple[str, ...]) -> None:
    """It leaves with 75, and tells who holds it."""
    with going(tmp_path) as process:
        done = pipeline(tmp_path, "journal", *command)

    assert 75 == done.returncode
    assert f"another run holds it (process {process.pid} on ".encode() in done.stderr


def test_each_run_is_listed_with_what_it_has_done_itself(tmp_path: Path) -> None:
    """The killed one too, though its work was finished by another."""
    (tmp_path / "in").write_text("".join(f"{number}\n" for number in range(9)))
    script = 'test -e go || test "$1" != 4 || kill -9 $PPID'
    run(tmp_path, "-j", "1", script=script)
    (tmp_path / "go").touch()
    assert 0 == run(tmp_path, "--resume", "-j", "1", script=script)
    latest, killed = (json.loads(line) for line in told(tmp_path, "runs", "--json"))

    assert ("ended", "killed") == (latest["state"], killed["state"])
    assert 9 == latest["succeeded"] + killed["succeeded"]
    # The last end before the kill may not have been on disk yet.
    assert killed["succeeded"] in (3, 4)
    assert 0 < killed["unfinished"] <= 3


def test_each_change_of_the_pool_is_told_with_what_the_policy_saw(tmp_path: Path) -> None:
    """The latest run's, in order; the looks that changed nothing only where they are asked for."""
    (tmp_path / "in").write_text("".join(f"{number}\n" for number in range(12)))
    options = ("--min-workers", "1", "--max-workers", "3", "--check-interval", "50ms")
    thresholds = ("--grow-threshold", "4", "--shrink-threshold", "1")
    assert 0 == run(tmp_path, *options, *thresholds, script="sleep 0.2")
    changes = as_json(tmp_path, "decisions", "--json")
    looks = as_json(tmp_path, "decisions", "--json", "--all")

    assert [(1, 2), (2, 3)] == [(one["allowed"], one["workers"]) for one in changes[:2]]
    assert all(
        one["reason"] == f"backlog {one['queued'] + one['in_flight'] + one['waiting']} >= 4"
        for one in changes[:2]
    )
    assert changes == [one for one in looks if one["allowed"] != one["workers"]]
    assert len(looks) > len(changes)
    assert sorted(one["look"] for one in looks) == [one["look"] for one in looks]
    first, *_ = told(tmp_path, "decisions")
    assert "  1 -> 2  backlog" in first


def test_an_exit_code_that_means_overload_takes_workers_away(tmp_path: Path) -> None:
    """The ceiling is the decision's reason, and the count of such failures is among its inputs."""
    (tmp_path / "in").write_text("".join(f"{number}\n" for number in range(30)))
    options = (
        "--policy",
        "fixed",
        "--max-workers",
        "8",
        "--check-interval",
        "100ms",
        "--set",
        "guards.overload=75",
    )
    assert 1 == run(tmp_path, *options, script='sleep 0.2; test "$1" != 1 || exit 75')
    change, *_ = as_json(tmp_path, "decisions", "--json")

    assert (8, 5, 1) == (change["allowed"], change["workers"], change["overloads"])
    assert "overload: 1 such failure, 5 workers at the most" == change["reason"]


def test_a_pool_that_kept_its_size_is_told_so(tmp_path: Path) -> None:
    """On stderr: what reads the lines finds none."""
    (tmp_path / "in").write_text("a\n")
    assert 0 == run(tmp_path, "-j", "1", "--check-interval", "20ms", script="sleep 0.2")
    kept = pipeline(tmp_path, "decisions")
    assert 0 == run(tmp_path, "--check-interval", "1m", script="true")
    unseen = pipeline(tmp_path, "decisions", "--all")

    assert (0, b"", b"the pool kept its size; --all tells of each look\n") == (
        kept.returncode,
        kept.stdout,
        kept.stderr,
    )
    assert (0, b"", b"nobody has looked at the load yet\n") == (
        unseen.returncode,
        unseen.stdout,
        unseen.stderr,
    )


def test_before_the_first_run_there_are_no_decisions(tmp_path: Path) -> None:
    """The way out is told."""
    done = pipeline(tmp_path, "decisions")

    assert 4 == done.returncode
    assert b"there is no journal" in done.stderr


def test_a_backup_of_a_damaged_journal_blames_the_journal_and_leaves_nothing(tmp_path: Path) -> None:
    """The way out is told, and the next try does not find half a copy."""
    (tmp_path / "in").write_text("".join(f"{number:0300}\n" for number in range(300)))
    assert 0 == run(tmp_path, script="true")
    stomp(tmp_path / "logs" / "journal.db", "jobs")
    done = pipeline(tmp_path, "journal", "backup", "copy.db")

    assert 4 == done.returncode
    assert b"journal.db: is damaged" in done.stderr
    assert b"`journal recover` saves what can be read" in done.stderr
    assert not (tmp_path / "copy.db").exists()


# ── recover ─────────────────────────────────────────────────────────────────────────────────────────


def stomp(journal: Path, name: str) -> None:
    """Overwrite the last page of a table or an index."""
    connection = sqlite3.connect(journal)
    (page,) = connection.execute(
        "SELECT pageno FROM dbstat WHERE name = ? ORDER BY path DESC LIMIT 1", (name,)
    ).fetchone()
    connection.close()
    with journal.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xa5" * 4096)


def test_a_damaged_journal_is_refused_and_recovered_and_resumed(tmp_path: Path) -> None:
    """What was done is not done again; the damaged one is kept."""
    (tmp_path / "in").write_text("".join(f"{number}\n" for number in range(300)))
    script = 'echo "$1" >> ran'
    assert 0 == run(tmp_path, script=script)
    journal = tmp_path / "logs" / "journal.db"
    stomp(journal, "works_by_task")
    before = journal.read_bytes()
    refused = pipeline(tmp_path, "run", "-i", "in", "-q", "--resume", "--", "sh", "-c", script, "sh")
    line, warning = told(tmp_path, "journal", "recover")
    assert 0 == run(tmp_path, "--resume", script=script)

    found = re.fullmatch(
        r"saved: 1 works, 1 runs, 300 jobs, 300 attempts; left out: 0; the damaged journal is kept as (.*)",
        line,
    )
    assert found is not None, line
    assert (
        "what could not be read is not on record any more: those records run again with --resume" == warning
    )
    assert (4, True) == (refused.returncode, b"`journal recover` saves what can be read" in refused.stderr)
    assert before == Path(found[1]).read_bytes()
    assert journal.parent == Path(found[1]).parent
    assert re.fullmatch(r"journal\.db\.damaged-\w+\.\d+", Path(found[1]).name)
    assert 300 == len((tmp_path / "ran").read_text().split())


def test_what_is_lost_runs_again_and_nothing_else_does(tmp_path: Path) -> None:
    """A page of jobs is gone."""
    (tmp_path / "in").write_text("".join(f"{number:0300}\n" for number in range(300)))
    script = 'echo "$1" >> ran'
    assert 0 == run(tmp_path, script=script)
    stomp(tmp_path / "logs" / "journal.db", "jobs")
    line, _ = told(tmp_path, "journal", "recover")
    assert 0 == run(tmp_path, "--resume", script=script)

    found = re.search(r"(\d+) jobs, (\d+) attempts; left out: (\d+);", line)
    assert found is not None
    jobs, attempts, left_out = map(int, found.groups())
    assert 0 < 300 - jobs < 30
    assert (jobs, 300 - jobs) == (attempts, left_out)
    assert 300 + 300 - jobs == len((tmp_path / "ran").read_text().split())


def test_a_whole_journal_is_left_alone(tmp_path: Path) -> None:
    """And told to be."""
    (tmp_path / "in").write_text("a\n")
    run(tmp_path, script="true")
    journal = tmp_path / "logs" / "journal.db"
    before = journal.read_bytes()

    assert [f"{journal}: is whole, nothing was changed"] == told(tmp_path, "journal", "recover")
    assert before == journal.read_bytes()


# ── no journal, and none of ours ────────────────────────────────────────────────────────────────────

COMMANDS = [
    ("status",),
    ("status", "--json"),
    ("runs",),
    ("failed",),
    ("journal", "backup", "copy"),
    ("journal", "prune"),
    ("journal", "recover"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_where_there_is_no_journal_none_is_made(tmp_path: Path, command: tuple[str, ...]) -> None:
    """Exit 4, one line, a way out; not even the folder is made."""
    done = pipeline(tmp_path, *command)

    assert (4, b"") == (done.returncode, done.stdout)
    assert (
        f"pipeline: error: {tmp_path}/logs/journal.db: there is no journal\n"
        "  hint: a run makes one, unless --durability off\n"
    ) == done.stderr.decode()
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"milk, eggs\n", "not a pipeline journal"),
        (b"SQLite format 3\0" + b"x" * 5000, "the database of another application"),
    ],
    ids=["text", "database"],
)
def test_what_is_not_ours_is_left_alone(
    tmp_path: Path, command: tuple[str, ...], content: bytes, text: str
) -> None:
    """Exit 4, one line, a way out; not a byte is changed, and no file comes beside it."""
    folder = tmp_path / "state"
    folder.mkdir()
    (folder / "journal.db").write_bytes(content)
    done = pipeline(tmp_path, *command, "--state-dir", "state")

    assert (4, b"") == (done.returncode, done.stdout)
    assert (
        f"pipeline: error: {folder}/journal.db: {text}\n"
        "  hint: it was not touched; move it away, or choose another --state-dir\n"
    ) == done.stderr.decode()
    assert [folder / "journal.db"] == list(folder.iterdir())
    assert content == (folder / "journal.db").read_bytes()
