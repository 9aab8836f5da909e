"""Nothing is lost: runs that are killed, resumed, locked out, and what their journal says afterwards."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from tests.acceptance.conftest import PIPELINE, Starter
from tests.doubles import wait_until

# Each execution appends a line to a file of its own, with one write.
RECORDING = 'echo "$1" >> ran; test ! -e slow || sleep 0.02'


def work(*options: str, script: str = RECORDING) -> list[str]:
    return [*PIPELINE, "run", "-i", "in", "-q", *options, "--", "sh", "-c", script, "sh"]


def run(folder: Path, *options: str, script: str = RECORDING) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        work(*options, script=script), cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


def ran(folder: Path) -> Counter[str]:
    return Counter((folder / "ran").read_text().split())


def last(text: str) -> str:
    return text.splitlines()[-1]


def lines(*records: object) -> str:
    return "".join(f"{record}\n" for record in records)


# ── resume ──────────────────────────────────────────────────────────────────────────────────────────


def test_what_is_done_is_not_done_again_whatever_became_of_the_input(tmp_path: Path) -> None:
    """Reordered, edited and grown: equal records count as they stand, the k-th for the k-th."""
    (tmp_path / "in").write_text(lines("a", "b", "a", "c"))
    assert run(tmp_path).returncode == 0
    (tmp_path / "in").write_text(lines("c", "a", "new", "a", "a", "b"))
    done = run(tmp_path, "--resume")

    assert (done.returncode, last(done.stderr)) == (0, "0 failed, 6 ok, 0 not run — exit 0")
    assert ran(tmp_path) == Counter({"a": 3, "b": 1, "c": 1, "new": 1})
    assert "4 had been done before" in done.stderr


def test_a_plain_run_begins_anew(tmp_path: Path) -> None:
    """Only --resume goes on."""
    (tmp_path / "in").write_text(lines("a"))
    run(tmp_path)
    run(tmp_path)
    assert ran(tmp_path) == Counter({"a": 2})


def test_a_fresh_start_that_leaves_records_undone_says_so(tmp_path: Path) -> None:
    """Whoever forgets `--resume` after a kill is told at once, and not where all was done."""
    (tmp_path / "in").write_text(lines(*range(9)))
    script = 'test "$1" != 4 || kill -9 $PPID'
    assert run(tmp_path, "-j", "1", script=script).returncode == -signal.SIGKILL
    (tmp_path / "in").write_text(lines("a"))
    anew = run(tmp_path, "-j", "1", script=script)
    again = run(tmp_path, "-j", "1", script=script)

    assert (anew.returncode, again.returncode) == (0, 0)
    assert re.search(
        r"warning: \d records of an earlier run of this command are not done, and this run begins anew;"
        r" --resume would go on with them",
        anew.stderr,
    )
    assert "warning" not in again.stderr


def test_resume_without_a_journal_is_a_fresh_start(tmp_path: Path) -> None:
    """So that cron and CI may always say it."""
    (tmp_path / "in").write_text(lines("a"))
    assert run(tmp_path, "--resume").returncode == 0
    assert ran(tmp_path) == Counter({"a": 1})


def test_another_command_is_not_mixed_in(tmp_path: Path) -> None:
    """Refused, with both shown, and nothing has run."""
    (tmp_path / "in").write_text(lines("a"))
    run(tmp_path)
    done = run(tmp_path, "--resume", script="echo other")

    assert (done.returncode, done.stdout) == (2, "")
    (line, hint) = done.stderr.splitlines()
    assert line.startswith(
        "pipeline: error: --resume: the journal has no such work; the latest differs in its text: "
    )
    assert hint.startswith("  hint: ")
    assert "echo other" in done.stderr


def test_what_failed_is_tried_again_when_that_is_asked_for(tmp_path: Path) -> None:
    """A resumed run passes it by, and tells the truth in its exit code."""
    (tmp_path / "in").write_text(lines("a", "b"))
    script = 'echo "$1" >> ran; test -e good || test "$1" = a'
    assert run(tmp_path, "--max-retries", "0", script=script).returncode == 1
    again = run(tmp_path, "--resume", "--max-retries", "0", script=script)
    assert (again.returncode, last(again.stderr)) == (1, "1 failed, 1 ok, 0 not run — exit 1")
    (tmp_path / "good").touch()
    done = run(tmp_path, "--retry-failed", "--max-retries", "0", script=script)

    assert (done.returncode, last(done.stderr)) == (0, "0 failed, 2 ok, 0 not run — exit 0")
    assert ran(tmp_path) == Counter({"a": 1, "b": 2})


def test_accepted_records_that_the_input_has_lost_still_run(start: Starter, tmp_path: Path) -> None:
    """They were promised; after the kill the file has shrunk."""
    (tmp_path / "in").write_text(lines("a", "b", "c"))
    script = 'echo "$1" >> ran; until test -e go; do sleep 0.01; done'
    with subprocess.Popen(work("-j", "1", script=script), cwd=tmp_path, stderr=subprocess.DEVNULL) as killed:
        wait_until((tmp_path / "ran").exists)
        wait_until(lambda: queued(tmp_path) == 3)
        killed.kill()
    (tmp_path / "in").write_text(lines("c"))
    (tmp_path / "go").touch()
    done = run(tmp_path, "-j", "1", "--resume", script=script)

    assert (done.returncode, last(done.stderr)) == (0, "0 failed, 3 ok, 0 not run — exit 0")
    assert set(ran(tmp_path)) == {"a", "b", "c"}
    assert "2 accepted by an earlier run, and not in today's input, were run too" in done.stderr


def queued(folder: Path) -> int:
    """Jobs that the journal knows."""
    with sqlite3.connect(f"file:{folder / 'logs' / 'journal.db'}?mode=ro", uri=True) as connection:
        (count,) = connection.execute("SELECT count(*) FROM jobs").fetchone()
        return int(count)


def test_the_same_line_resumes_with_its_reports_and_outputs(tmp_path: Path) -> None:
    """Kept outputs and rows go on where the killed run left them; anybody else's are still refused."""
    (tmp_path / "in").write_text(lines(*range(1, 9)))
    script = 'test "$1" -lt 4 || test -e go || sleep 60; echo "$1"'
    kept = ("--output", "out", "--joblog", "log.tsv", "--results", "r.jsonl")
    with subprocess.Popen(
        work("-j", "2", *kept, script=script), cwd=tmp_path, stderr=subprocess.DEVNULL
    ) as killed:
        log = tmp_path / "log.tsv"
        wait_until(lambda: log.exists() and len(log.read_text().splitlines()) == 4)
        killed.kill()
    (tmp_path / "go").touch()
    done = run(tmp_path, "-j", "2", *kept, "--resume", script=script)

    assert (done.returncode, last(done.stderr)) == (0, "0 failed, 8 ok, 0 not run — exit 0"), done.stderr
    outputs = {path.stem: path.read_text() for path in (tmp_path / "out").glob("*.out")}
    assert outputs == {str(number): f"{number}\n" for number in range(1, 9)}
    seqs = [row.split("\t")[0] for row in log.read_text().splitlines()[1:]]
    assert sorted(seqs) == [str(number) for number in range(1, 9)]
    assert run(tmp_path, *kept, script=script).returncode == 2
    fresh = run(tmp_path, "--output", "out", "--resume", "--state-dir", "elsewhere", script=script)
    assert (fresh.returncode, "it holds outputs already" in fresh.stderr) == (2, True)
    after = run(tmp_path, "--state-dir", "elsewhere", script="true")
    assert "killed" not in after.stderr + (tmp_path / "elsewhere" / "pipeline.log").read_text()


def test_what_failed_is_offered_as_the_same_work(tmp_path: Path) -> None:
    """Other work of the same kind would be what the next --resume finds; the offer holds no matter how it was run."""
    (tmp_path / "in").write_text(lines("a", "b"))
    script = 'echo "$1" >> ran; test -e good || test "$1" = a'
    run(tmp_path, "--resume", "--max-retries", "0", script=script)
    told = run(
        tmp_path, "--resume", "--max-retries", "0", "--durability", "normal", "--retry-failed", script=script
    )
    (offer,) = (line for line in told.stderr.splitlines() if line.startswith("run them again: "))
    (tmp_path / "good").touch()
    done = subprocess.run(
        ["bash", "-c", offer.removeprefix("run them again: ")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert " -i in --retry-failed --quiet " in offer
    assert "--resume" not in offer
    assert (done.returncode, last(done.stderr)) == (0, "0 failed, 2 ok, 0 not run — exit 0")
    assert ran(tmp_path) == Counter({"a": 1, "b": 3})
    assert last(run(tmp_path, "--resume", "--max-retries", "0", script=script).stderr).startswith(
        "0 failed, 2 ok"
    )


def test_order_is_that_of_todays_input(tmp_path: Path) -> None:
    """With -k a resumed run shows what is left, in the order in which it stands now."""
    (tmp_path / "in").write_text(lines("a", "b"))
    shown = [*PIPELINE, "run", "-i", "in", "-q", "-k"]
    subprocess.run([*shown[:-2], "--", "echo"], cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / "in").write_text(lines("d", "b", "c", "a"))
    done = subprocess.run(
        [*PIPELINE, "run", "-i", "in", "-k", "--resume", "--", "echo"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    assert done.stdout == b"d\nc\n"


def test_each_job_knows_its_key(tmp_path: Path) -> None:
    """The same for the same record of the same work, in every run; so a command can be made idempotent."""
    (tmp_path / "in").write_text(lines("a", "b"))
    for _ in range(2):
        run(tmp_path, script='echo "$1 $PIPELINE_JOB_KEY" >> ran')
    keys = (tmp_path / "ran").read_text().splitlines()
    assert len(keys) == 4
    assert len(set(keys)) == 2
    assert all(re.fullmatch(r"[ab] [0-9a-f]{32}", key) for key in keys)


# ── kill -9 ─────────────────────────────────────────────────────────────────────────────────────────


def kill_and_resume(folder: Path, seed: int, kills: int, records: int = 60, workers: int = 4) -> None:
    """Kill the program at random instants while its input is shuffled and grown; count from outside."""
    dice = random.Random(seed)
    names = [f"r{number}" for number in range(records)] + ["same"] * 5
    (folder / "slow").touch()
    for number in range(kills):
        dice.shuffle(names)
        names.append(f"more{number}")
        (folder / "in").write_text(lines(*names))
        with subprocess.Popen(
            work("--resume", "-j", str(workers)),
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as killed:
            try:
                killed.wait(dice.uniform(0.2, 0.9))
            except subprocess.TimeoutExpired:
                killed.kill()
    (folder / "slow").unlink()
    done = run(folder, "--resume", "-j", str(workers))

    assert (done.returncode, last(done.stderr)) == (0, f"0 failed, {len(names)} ok, 0 not run — exit 0"), (
        done.stderr
    )
    executed = ran(folder)
    assert set(executed) == set(names)
    assert executed["same"] >= 5
    assert sum(executed.values()) - len(names) <= kills * 2 * workers
    with sqlite3.connect(folder / "logs" / "journal.db") as connection:
        assert connection.execute("SELECT count(*) FROM jobs WHERE state != 'S'").fetchone() == (0,)
        assert connection.execute("SELECT count(*) FROM jobs").fetchone() == (len(names),)
        # Every execution has a start on record, and one success per job is recorded.
        (starts,) = connection.execute("SELECT count(*) FROM attempts").fetchone()
        assert starts >= sum(executed.values())
        assert connection.execute("SELECT count(*) FROM attempts WHERE outcome = 'succeeded'").fetchone() == (
            len(names),
        )
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_killed_at_random_nothing_is_lost_and_nothing_recorded_twice(tmp_path: Path) -> None:
    """The short form: six kills."""
    kill_and_resume(tmp_path, seed=1, kills=6)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(1, 6))
def test_killed_forty_times(tmp_path: Path, seed: int) -> None:
    """Five seeds, forty kills each."""
    kill_and_resume(tmp_path, seed=seed, kills=40, records=400)


def lives(pid: int) -> bool:
    """Whether there is such a process; one that only waits to be reaped is none."""
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and ") Z " not in stat.read_text()


def left_running(folder: Path, script: str) -> int:
    """The process of a command that outlives its run, which is killed when the command has told its number."""
    ran = folder / "ran"
    with subprocess.Popen(work(script=script), cwd=folder, stderr=subprocess.DEVNULL) as killed:
        wait_until(lambda: ran.exists() and ran.read_text().endswith("\n"))
        killed.kill()
    return int(ran.read_text())


def test_what_a_killed_run_left_running_is_ended_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the job would run twice at the same time. The folder of its outputs goes as well."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    (tmp_path / "in").write_text(lines("a"))
    script = "echo $$ >> ran; test -e go || exec sleep 60"
    pid = left_running(tmp_path, script)
    assert lives(pid)
    (tmp_path / "go").touch()
    done = run(tmp_path, "--resume", script=script)

    assert done.returncode == 0
    assert not lives(pid)
    assert [] == list((tmp_path / "tmp").iterdir())


def test_a_kill_while_the_rest_of_a_killed_run_is_ended_forgets_nothing(tmp_path: Path) -> None:
    """What the first has left ignores TERM; the second is killed within the grace; the third still finds it."""
    (tmp_path / "in").write_text(lines("a"))
    script = "trap 'touch term' TERM; echo $$ >> ran; test -e go || while :; do sleep 1; done"
    pid = left_running(tmp_path, script)
    (tmp_path / "go").touch()
    second = work("--resume", "--kill-grace", "60s", script=script)
    with subprocess.Popen(second, cwd=tmp_path, stderr=subprocess.DEVNULL) as killed:
        wait_until((tmp_path / "term").exists)
        killed.kill()
    assert lives(pid)
    done = run(tmp_path, "--resume", "--kill-grace", "100ms", script=script)

    assert done.returncode == 0
    assert not lives(pid)


def test_a_signal_ends_the_wait_for_what_a_killed_run_has_left(tmp_path: Path) -> None:
    """The wait is told, the signal is heard, and the next run waits again."""
    (tmp_path / "in").write_text(lines("a"))
    script = "echo $$ >> ran; test -e go || exec sleep 60"
    pid = left_running(tmp_path, script)
    (tmp_path / "go").touch()
    waiting = work("--resume", "--orphans", "wait", script=script)
    for signum in (signal.SIGINT, signal.SIGTERM):
        with subprocess.Popen(waiting, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            said = process.stderr.readline()
            process.send_signal(signum)
            process.communicate(timeout=60)
        assert said == f"pipeline: waiting for processes that a killed run has left: {pid}\n"
        assert process.returncode == 128 + signum
    assert lives(pid)
    assert [str(pid)] == (tmp_path / "ran").read_text().split()
    os.kill(pid, signal.SIGKILL)

    assert run(tmp_path, "--resume", "--orphans", "wait", script=script).returncode == 0


def test_three_signals_again_and_again_hold_no_job(tmp_path: Path) -> None:
    """It was the user who left in a hurry, and no job that took the process down."""
    (tmp_path / "in").write_text(lines("a"))
    script = "trap '' TERM; " + 'echo "$1" >> ran; test -e go || while :; do sleep 1; done'
    for left in range(1, 8):
        with subprocess.Popen(
            work("--resume", script=script), cwd=tmp_path, stderr=subprocess.DEVNULL
        ) as process:
            wait_until(lambda left=left: (tmp_path / "ran").exists() and ran(tmp_path)["a"] == left)  # type: ignore[misc]
            process.send_signal(signal.SIGQUIT)
            while process.poll() is None:
                process.send_signal(signal.SIGINT)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(0.05)
        assert process.returncode == 128 + signal.SIGINT, left
    (tmp_path / "go").touch()
    done = run(tmp_path, "--resume", script=script)

    assert (done.returncode, last(done.stderr)) == (0, "0 failed, 1 ok, 0 not run — exit 0")


def test_outputs_that_a_kill_left_beside_the_folder_are_put_into_it(tmp_path: Path) -> None:
    """Recorded as done, their jobs do not run again, so nobody else would bring them; the spools go."""
    (tmp_path / "in").write_text(lines(*range(400)))
    script = 'echo "$1" | tee -a ran'
    options = "--output", "outputs", "-j", "4", "--resume"
    for kill in range(3):
        with subprocess.Popen(
            work(*options, script=script), cwd=tmp_path, stderr=subprocess.DEVNULL
        ) as killed:
            wait_until(lambda kill=kill: (tmp_path / "ran").exists() and len(ran(tmp_path)) > 60 * (kill + 1))  # type: ignore[misc]
            killed.kill()
    done = run(tmp_path, *options, script=script)

    assert done.returncode == 0
    assert {f"{job}.out": f"{job - 1}\n" for job in range(1, 401)} == {
        path.name: path.read_text() for path in (tmp_path / "outputs").iterdir()
    }


def test_a_job_that_kills_the_pipeline_ends_held_and_the_rest_is_done(tmp_path: Path) -> None:
    """It takes the process down each time: it runs alone, then not at all, and the exit code says so."""
    (tmp_path / "in").write_text(lines(*range(30), "poison", *range(30, 60)))
    script = 'echo "$1" >> ran; test "$1" != poison || kill -9 $PPID'
    codes = [run(tmp_path, "--resume", "-j", "4", script=script).returncode for _ in range(12)]
    done = run(tmp_path, "--resume", "-j", "4", script=script)

    assert "these jobs run alone now: 31\n" in (tmp_path / "logs" / "pipeline.log").read_text()
    assert codes[0] == -signal.SIGKILL
    assert codes[-1] == 1
    assert (done.returncode, last(done.stderr)) == (1, "1 failed, 60 ok, 0 not run — exit 1")
    assert "1 held" in done.stderr
    assert {str(number) for number in range(60)} <= set(ran(tmp_path))


# ── two at once ─────────────────────────────────────────────────────────────────────────────────────


def test_of_many_starts_one_runs(tmp_path: Path) -> None:
    """The others say who holds the journal, and leave with 75; after a kill there is nothing to unlock."""
    (tmp_path / "in").write_text(lines("a"))
    script = "until test -e go; do sleep 0.01; done"
    starts = [
        subprocess.Popen(work(script=script), cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        for _ in range(20)
    ]
    waiting = list(starts)
    while len(waiting) > 1:
        waiting = [process for process in waiting if process.poll() is None]
    codes = Counter(process.returncode for process in starts if process not in waiting)
    told = [process.stderr.read() for process in starts if process not in waiting and process.stderr]
    (holder,) = waiting
    assert codes == Counter({75: 19})
    assert all(f"another run holds it (process {holder.pid} on " in text for text in told)
    skipped = run(tmp_path, "--if-locked", "skip", script=script)
    assert (skipped.returncode, skipped.stdout) == (0, "")
    holder.kill()
    holder.wait()
    (tmp_path / "go").touch()
    assert run(tmp_path, "--resume", script=script).returncode == 0
    for process in starts:
        assert process.stderr is not None
        process.stderr.close()


# ── a journal that cannot be used ───────────────────────────────────────────────────────────────────


def test_a_full_disk_holds_the_run_until_there_is_room(tmp_path: Path) -> None:
    """Nothing is lost and nothing claimed meanwhile; when space is free the run goes on."""
    if shutil.which("unshare") is None or subprocess.call(
        ["unshare", "-rm", "true"], stderr=subprocess.DEVNULL
    ):
        pytest.skip("no disk of one's own can be mounted")
    (tmp_path / "in").write_text(lines(*range(300)))
    (tmp_path / "disk").mkdir()
    fill = (
        'test "$1" != 0 || { head -c 30000000 /dev/zero >disk/full 2>/dev/null; touch filled; }; '
        'until test -e filled; do sleep 0.01; done; echo "$1" >> ran'  # so all the others come after it
    )
    inside = (
        "mount -t tmpfs -o size=24m none disk; "
        '(until grep -qs "the journal waits" err; do sleep 0.05; done; rm disk/full) & "$@" 2>err'
    )
    options = ("-j", "2", "--state-dir", "disk", "--durability", "normal")
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", inside, "sh", *work(*options, script=fill)],
        cwd=tmp_path,
        timeout=90,
        check=False,
    )
    told = (tmp_path / "err").read_text()

    assert (done.returncode, last(told)) == (0, "0 failed, 300 ok, 0 not run — exit 0"), told
    assert "the journal goes on" in told
    assert ran(tmp_path) == Counter(map(str, range(300)))


@pytest.mark.parametrize("content", [b"a text of somebody else's\n", b"SQLite format 3\0" + b"x" * 5000])
def test_a_file_that_is_not_ours_is_never_changed(tmp_path: Path, content: bytes) -> None:
    """Exit 4, one line, and its bytes are what they were."""
    (tmp_path / "in").write_text(lines("a"))
    (tmp_path / "logs").mkdir()
    journal = tmp_path / "logs" / "journal.db"
    journal.write_bytes(content)
    done = run(tmp_path)

    assert (done.returncode, journal.read_bytes()) == (4, content)
    assert not (tmp_path / "ran").exists()
    assert done.stderr.startswith("pipeline: error: ")


def test_without_a_journal_there_is_none(tmp_path: Path) -> None:
    """--durability off leaves no file but the log."""
    (tmp_path / "in").write_text(lines("a"))
    assert run(tmp_path, "--durability", "off").returncode == 0
    assert sorted(path.name for path in (tmp_path / "logs").iterdir()) == ["pipeline.log"]


def test_a_journal_removed_under_a_run_ends_it_with_4(start: Starter, tmp_path: Path) -> None:
    """What has been executed and is not on record is counted, and no success is claimed."""
    (tmp_path / "in").write_text(lines("a", "b", "c"))
    script = "touch going; until test -e go; do sleep 0.01; done"
    with subprocess.Popen(
        work("-j", "1", script=script), cwd=tmp_path, stderr=subprocess.PIPE, text=True
    ) as process:
        wait_until((tmp_path / "going").exists)
        for name in ("journal.db", "journal.db-wal", "journal.db-shm"):
            (tmp_path / "logs" / name).unlink(missing_ok=True)
        (tmp_path / "go").touch()
        _, told = process.communicate(timeout=60)

    assert process.returncode == 4
    assert last(told).endswith("exit 4")
    assert re.search(
        r"executed, not recorded: [12] jobs \(1", told
    )  # the start of the next one was on record


def test_the_first_signal_drains_and_the_rest_is_resumed(start: Starter, tmp_path: Path) -> None:
    """Interrupted by a second signal: nothing is charged, the next run does the rest."""
    (tmp_path / "in").write_text(lines(*range(6)))
    script = 'echo "$1" >> ran; test -e go || sleep 60'
    with subprocess.Popen(
        work("-j", "2", "--kill-grace", "100ms", script=script),
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        wait_until(lambda: (tmp_path / "ran").exists() and len(ran(tmp_path)) == 2)
        process.send_signal(signal.SIGQUIT)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGQUIT
    assert "go on with what was not run: the same command with --resume" in told
    (tmp_path / "go").touch()
    done = run(tmp_path, "--resume", script=script)

    assert (done.returncode, last(done.stderr)) == (0, "0 failed, 6 ok, 0 not run — exit 0")


def test_a_call_and_a_table_are_resumed_too(tmp_path: Path) -> None:
    """Fields and all; the results of what is done are in the journal."""
    (tmp_path / "t.csv").write_text("id,name\n1,a\n2,b\n")
    (tmp_path / "mine.py").write_text(
        "def call(row):\n    open('ran', 'a').write(row['name'] + chr(10))\n    return {'id': row['id']}\n"
    )
    args = [*PIPELINE, "run", "-i", "t.csv", "-q", "--resume", "--call", "mine:call"]
    for _ in range(2):
        subprocess.run(args, cwd=tmp_path, check=True, capture_output=True)
        (tmp_path / "t.csv").write_text("id,name\n2,b\n3,c\n1,a\n")

    assert ran(tmp_path) == Counter({"a": 1, "b": 1, "c": 1})
