"""What steers a run from outside: too many failures, time limits, a file with the number of workers, cron."""

from __future__ import annotations

import os
import signal
import textwrap
from pathlib import Path

from tests.acceptance.conftest import Starter
from tests.doubles import wait_until

NUMBERS = "".join(f"{number}\n" for number in range(1, 41))


def last_line(text: str) -> str:
    return text.splitlines()[-1]


# ── --halt ──────────────────────────────────────────────────────────────────────────────────────────


def test_halt_soon_starts_nothing_after_the_failure(run: Starter) -> None:
    """One worker: the fifth job fails, and there is no sixth."""
    script = 'echo "$1"; test "$1" -lt 5'
    args = ("-j", "1", "--max-retries", "0", "--halt", "soon,fail=1")
    program = run("run", "-i", "-", *args, "--", "sh", "-c", script, "sh", stdin=NUMBERS)

    assert program.process.returncode == 3
    assert program.stdout.split() == ["1", "2", "3", "4", "5"]
    assert last_line(program.stderr).startswith("1 failed, 4 ok, ")
    assert last_line(program.stderr).endswith(" not run — exit 3")


def test_halt_now_ends_what_runs_and_keeps_what_it_wrote(run: Starter) -> None:
    """The one that sleeps is ended with its child; the output that GNU parallel would lose is shown."""
    script = 'if test "$1" = 1; then echo partial; touch going; sleep 60; else until test -e going; do :; done; exit 1; fi'
    args = ("-j", "2", "--max-retries", "0", "--halt", "now,fail=1")
    program = run("run", "-i", "-", *args, "--", "sh", "-c", script, "sh", stdin=NUMBERS)

    assert program.process.returncode == 3
    assert program.stdout == "partial\n"
    assert "--halt now,fail=1: 1 failed" in program.log
    assert last_line(program.stderr).startswith("1 failed, 0 ok, ")


def test_a_halt_with_nothing_left_is_a_plain_failure(run: Starter) -> None:
    """3 means that work is left; the last of two jobs failed, and all was tried."""
    args = ("-j", "1", "--max-retries", "0", "--halt", "soon,fail=1")
    program = run("run", "-i", "-", *args, "--", "test", "1", "=", stdin="1\n2\n")

    assert program.process.returncode == 1


def test_a_share_of_the_jobs(run: Starter) -> None:
    """A quarter of forty is ten; every second job fails."""
    script = 'test "$(($1 % 2))" = 1'
    args = ("-j", "1", "--max-retries", "0", "--halt", "soon,fail=25%")
    program = run("run", "-i", "-", *args, "--", "sh", "-c", script, "sh", stdin=NUMBERS)

    assert program.process.returncode == 3
    assert last_line(program.stderr) == "10 failed, 10 ok, 20 not run — exit 3"


def test_a_bad_rule_is_refused_before_anything_is_created(run: Starter) -> None:
    """With the forms that there are."""
    program = run("run", "-i", "-", "--halt", "soon", "--", "true", stdin="a\n")

    assert (program.process.returncode, list(program.folder.glob("logs"))) == (2, [])
    assert program.stderr.startswith(
        "pipeline: error: --halt soon: it must be never, soon,fail=N, now,fail=N"
    )


# ── --timeout for calls, current_job ────────────────────────────────────────────────────────────────


def module(folder: Path, text: str) -> None:
    (folder / "mine.py").write_text(textwrap.dedent(text))


def test_a_call_that_takes_too_long_fails_alone(start: Starter, tmp_path: Path) -> None:
    """A spare worker does the rest, the call is told by its flag, and its late result counts for nothing."""
    module(
        tmp_path,
        """
        import time
        from dynamic_pipeline import current_job

        def call(record):
            job = current_job()
            while record == "2" and not job.should_stop:
                time.sleep(0.005)  # as a function does that asks now and then; no test waits by it
            print(f"{job.id} {job.attempt} {record} {job.should_stop}\\n", end="")
        """,
    )
    program = start(
        "run", "-i", "-", "-j", "1", "--timeout", "200ms", "--call", "mine:call", stdin="1\n2\n3\n"
    )

    assert program.wait() == 1
    assert sorted(program.stdout.splitlines()) == ["1 1 1 False", "2 1 2 True", "3 1 3 False"]
    assert "ERROR: timeout after 0.2 s; a call cannot be ended, so it is left behind" in program.log
    assert last_line(program.stderr) == "1 failed, 2 ok, 0 not run — exit 1"


def test_a_call_that_never_ends_does_not_keep_the_program(start: Starter, tmp_path: Path) -> None:
    """It ignores the flag; the others are done, everything is told, and the process leaves."""
    module(
        tmp_path,
        """
        import threading

        def call(record):
            if record == "2":
                threading.Event().wait()
        """,
    )
    args = ("-j", "1", "--timeout", "100ms", "--kill-grace", "100ms")
    program = start("run", "-i", "-", *args, "--call", "mine:call", stdin="1\n2\n3\n")

    assert program.wait() == 1
    assert last_line(program.stderr) == "1 failed, 2 ok, 0 not run — exit 1"
    assert "graceful exit complete" in program.log


# ── stragglers ──────────────────────────────────────────────────────────────────────────────────────


def test_a_job_is_over_when_its_leader_exits_and_stragglers_are_told(run: Starter, tmp_path: Path) -> None:
    """The grandchild holds the output open and runs on; the job does not wait for it, and the log says so."""
    script = "sleep 60 & echo $! > pid; echo done"
    program = run("run", "-i", "-", "--", "sh", "-c", script, "sh", stdin="a\n")
    pid = int((tmp_path / "pid").read_text())
    os.kill(pid, signal.SIGKILL)  # it was still there

    assert (program.process.returncode, program.stdout) == (0, "done\n")
    assert "job 1 has ended and left processes behind that run on" in program.log


# ── --jobs-file ─────────────────────────────────────────────────────────────────────────────────────


def test_the_number_of_workers_follows_a_file(start: Starter, tmp_path: Path) -> None:
    """0 pauses from the start; a number goes on; nonsense is warned of and changes nothing."""
    jobs = tmp_path / "jobs"
    jobs.write_text("0\n")
    options = ("--jobs-file", "jobs", "--set", "pipeline.check_interval=20ms", "--max-retries", "0")
    script = 'touch "begun.$1"; until test -e go; do sleep 0.01; done; echo "$1 $PIPELINE_JOB_SLOT"'
    program = start("run", "-i", "-", *options, "--", "sh", "-c", script, "sh", stdin="a\nb\nc\n")
    program.wait_for("pipeline running")
    jobs.write_text("lots\n")
    program.wait_for("warning: jobs: it must hold N or MIN MAX, whole numbers; the limits stay as they are")
    assert " handled by " not in program.log
    jobs.write_text("3\n")
    program.wait_for("added worker (total 3)")
    wait_until(lambda: len(list(tmp_path.glob("begun.*"))) == 3)
    (tmp_path / "go").touch()

    assert program.wait() == 0
    assert sorted(line.split()[1] for line in program.stdout.splitlines()) == ["1", "2", "3"]


def test_a_paused_run_drains_when_it_is_told_to_stop(start: Starter, tmp_path: Path) -> None:
    """Accepted jobs finish, so the pause ends."""
    (tmp_path / "jobs").write_text("0\n")
    program = start("run", "-i", "-", "--jobs-file", "jobs", "--", "echo", stdin="a\nb\nc\n")
    program.wait_for("pipeline running")
    program.signal(signal.SIGTERM)

    assert program.wait() in (0, 128 + signal.SIGTERM)  # by how much of the input had been read
    ok = program.stdout.split()
    assert ok == ["a", "b", "c"][: len(ok)]


def test_a_file_that_makes_no_sense_at_the_start_is_refused(run: Starter, tmp_path: Path) -> None:
    """Before anything is created."""
    (tmp_path / "jobs").write_text("8 2\n")
    program = run("run", "-i", "-", "--jobs-file", "jobs", "--", "echo", stdin="a\n")

    assert (program.process.returncode, list(tmp_path.glob("logs"))) == (2, [])
    assert program.stderr == "pipeline: error: --jobs-file jobs: MIN is 8 and MAX is 2\n"


# ── --cron ──────────────────────────────────────────────────────────────────────────────────────────


def test_cron_is_silent_when_all_went_well(run: Starter) -> None:
    """Not a byte, neither of outputs nor of a first attempt that failed; the log file has it all."""
    script = 'echo out; echo err >&2; test "$PIPELINE_JOB_ATTEMPT" = 2'
    program = run("run", "-i", "-", "--cron", "--", "sh", "-c", script, "sh", stdin="a\r\n\nb\n")

    assert (program.process.returncode, program.stdout, program.stderr) == (0, "", "")
    assert "job 1 failed, retrying (1/3)" in program.log


def test_cron_tells_what_failed(run: Starter) -> None:
    """The output of what failed and the summary, no line of the log."""
    script = 'echo "out $1"; test "$1" = a'
    program = run(
        "run", "-i", "-", "--cron", "--max-retries", "0", "--", "sh", "-c", script, "sh", stdin="a\nb\n"
    )

    assert (program.process.returncode, program.stdout) == (1, "out b\n")
    assert program.stderr.startswith("FAILED exit 1: 1 job\n")
    assert last_line(program.stderr) == "1 failed, 1 ok, 0 not run — exit 1"


def test_a_simulation_may_be_silent_too(run: Starter) -> None:
    """The log file has it all."""
    program = run("run", "--jobs", "2", "--time-scale", "0", "--failure-rate", "0", "--cron")

    assert (program.process.returncode, program.stdout, program.stderr) == (0, "", "")
    assert "graceful exit complete" in program.log


# ── SIGQUIT ─────────────────────────────────────────────────────────────────────────────────────────


def test_sigquit_ends_what_runs_at_once(start: Starter, tmp_path: Path) -> None:
    """Ctrl+\\ is what people press when Ctrl+C seems too slow; no command may outlive it."""
    program = start("run", "-i", "-", "--", "sh", "-c", "echo $$ > pid; sleep 60; true", "sh", stdin="a\n")
    program.wait_for("pipeline running")
    wait_until((tmp_path / "pid").exists)
    program.signal(signal.SIGQUIT)

    assert program.wait() == 128 + signal.SIGQUIT
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}").exists()


# ── what must not hold a run ────────────────────────────────────────────────────────────────────────


def test_a_jobs_file_that_is_a_pipe_does_not_hold_the_run(run: Starter, tmp_path: Path) -> None:
    """It has no writer, so a plain read would never return."""
    os.mkfifo(tmp_path / "jobs")
    program = run("run", "-i", "-", "--jobs-file", "jobs", "--", "echo", stdin="a\n")

    assert program.process.returncode == 2
    assert "jobs: it must hold N or MIN MAX" in program.stderr


def test_the_wait_for_calls_that_hang_hears_signals(start: Starter, tmp_path: Path) -> None:
    """They would have the grace to end; a second signal takes it from them."""
    module(tmp_path, "import threading\ndef call(record):\n    threading.Event().wait()\n")
    args = ("-j", "1", "--timeout", "100ms", "--kill-grace", "1000s")
    program = start("run", "-i", "-", *args, "--call", "mine:call", stdin="1\n")
    program.wait_for("permanently failed")
    program.signal(signal.SIGQUIT)

    assert program.wait() in (1, 128 + signal.SIGQUIT)


# ── which failures are tried again, and when too many end the run ───────────────────────────────────


def test_exit_codes_decide_what_is_tried_again(run: Starter) -> None:
    """75 says "later", 1 says "never"; delays are told."""
    script = 'echo "$1" >> "$0"; exit "$1"'
    args = ("-j", "1", "--max-retries", "2", "--set", "retry.on_exit=75", "--set", "retry.base=10ms")
    program = run(
        "run",
        "-i",
        "-",
        *args,
        "--set",
        "retry.jitter=none",
        "--",
        "sh",
        "-c",
        script,
        "ran",
        stdin="1\n75\n",
    )

    assert program.process.returncode == 1
    assert sorted((program.folder / "ran").read_text().split()) == ["1", "75", "75", "75"]
    assert "job 2 failed, retrying in 0.010s (1/2)" in program.log


def test_the_breaker_ends_a_run_in_order_and_leaves_the_rest(run: Starter) -> None:
    """Exit 3: work is left. What was accepted is finished; nobody sent a signal."""
    settings = ("pipeline.queue_capacity=1", "pipeline.grow_threshold=2", "pipeline.shrink_threshold=1")
    args = ("-j", "1", *(word for setting in settings for word in ("--set", setting)))
    breaker = ("--max-retries", "0", "--set", "breaker.errors=3", "--set", "breaker.window=1m")
    program = run("run", "-i", "-", *args, *breaker, "--", "false", stdin=NUMBERS)

    assert program.process.returncode == 3
    assert "breaker: 3 attempts failed in 60 s" in program.log
    assert last_line(program.stderr).endswith(" not run — exit 3")


def test_rules_that_cannot_be_are_refused(run: Starter) -> None:
    """With the key, the value and how it is written."""
    for setting, told in (
        ("retry.on_exit=0-3", "retry.on_exit: '0-3': it must be exit codes from 1 to 255"),
        ("retry.fatal=a b", "retry.fatal: 'a b': it must be names of exceptions"),
    ):
        program = run("run", "-i", "-", "--set", setting, "--", "true", stdin="1\n")
        assert program.process.returncode == 2
        assert told in program.stderr
