"""`run` without input: the simulated workload, drained, forced and interrupted at any moment."""

from __future__ import annotations

import contextlib
import json
import random
import re
import signal
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from tests.acceptance.conftest import PIPELINE, Program, Starter

DRAINED = [
    "signal received — stopping producer, beginning drain",
    "draining backlog=0",
    "jobs channel closed — stopping workers and supervisor",
    "graceful exit complete",
]
SMALL_QUEUE = ("--queue-capacity=20", "--grow-threshold=20")  # full after half a second of the seed's load


def in_order(lines: list[str], wanted: list[str]) -> bool:
    """Whether *wanted* stand in *lines* in this order."""
    rest = iter(lines)
    return all(line in rest for line in wanted)


def test_a_bounded_simulation_ends_by_itself(run: Starter) -> None:
    """Forty jobs end with 0, each with one line, the same on the console and in the file."""
    program = run("run", "--jobs", "40", "--time-scale", "0.01", "--seed", "1")

    assert program.process.returncode == 0
    assert program.stdout == program.log
    assert program.stderr == ""
    ends = [line for line in program.log_lines if line.startswith(("✓", "✗"))]
    assert sorted(int(line.split()[2]) for line in ends) == list(range(1, 41))
    assert program.log_lines[-2:] == DRAINED[2:]


def test_the_same_seed_gives_the_same_failures(run: Starter) -> None:
    """Which attempts fail depends on seed, job and attempt, not on timing."""

    def failures(program_log: list[str]) -> set[str]:
        return {re.sub(r"^\[worker \d+\] ", "", line) for line in program_log if "retrying" in line}

    first = run("run", "--jobs", "60", "--time-scale", "0", "--seed", "7", "-j", "2")
    second = run("run", "--jobs", "60", "--time-scale", "0.001", "--seed", "7", "-j", "8")

    assert failures(first.log_lines) == failures(second.log_lines) != set()


def test_a_job_that_always_fails_is_tried_four_times(run: Starter) -> None:
    """max_retries 3 makes 4 attempts, in the seed's words, and exit 1."""
    program = run("run", "--jobs", "1", "--time-scale", "0", "--failure-rate", "1")

    assert program.process.returncode == 1
    lines = [re.sub(r"worker \d+", "worker NN", line) for line in program.log_lines]
    start = lines.index("pipeline running — press Ctrl+C to start graceful drain") + 1
    assert lines[start : start + 5] == [
        "[worker NN] job 1 failed, retrying (1/3)",
        "[worker NN] job 1 failed, retrying (2/3)",
        "[worker NN] job 1 failed, retrying (3/3)",
        "[worker NN] job 1 permanently failed",
        "✗ job 1 handled by worker NN, ERROR: simulated worker failure",
    ]


def check_demo(lines: list[str]) -> None:
    """The pool goes 2 → 8 → 2, one worker at a time, each change after a line with the backlog."""
    totals = [2]
    for before, line in pairwise(lines):
        if found := re.fullmatch(r"(↑ added|↓ removed) worker \(total (\d+)\)", line):
            backlog = re.fullmatch(r"backlog size: (\d+)", before)
            assert backlog, f"no backlog before {line!r}"
            totals.append(int(found[2]))
            is_growth = totals[-1] > totals[-2]
            assert is_growth == line.startswith("↑")
            assert int(backlog[1]) >= 50 if is_growth else int(backlog[1]) <= 10
    assert all(abs(a - b) == 1 for a, b in pairwise(totals))
    assert totals[:13] == [2, 3, 4, 5, 6, 7, 8, 7, 6, 5, 4, 3, 2]
    assert lines[-1] == "graceful exit complete"


def test_the_demo_scales_up_and_down(run: Starter) -> None:
    """The demo, ten times as fast as it is shown."""
    program = run(
        "run", "--profile=demo", "--time-scale=0.1", "--check-interval=100ms", "--duration=7s", "--seed=1"
    )

    assert program.process.returncode == 0
    check_demo(program.log_lines)


@pytest.mark.soak
def test_the_demo_in_real_time(start: Starter) -> None:
    """The command that the issue and the README name, as it stands there; a step takes a whole check interval."""
    program = start("run", "--profile", "demo", "--duration", "70s")

    assert program.process.wait(120) == 0
    check_demo(program.log_lines)
    stamps = [
        float(line[17:26]) + 60 * int(line[14:16])
        for line in program.log.splitlines()
        if "worker (total" in line
    ]
    assert all((b - a) % 3600 > 0.9 for a, b in pairwise(stamps))


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_drains(start: Starter, signum: signal.Signals) -> None:
    """An endless run stops producing, finishes what it accepted, retries included, and ends with 0."""
    program = start("run", "--profile", "demo", "--time-scale", "0.2", "--seed", "3")
    program.wait_for("✓ job 20 ")
    program.signal(signum)

    assert program.wait() == 0
    assert in_order(program.log_lines, DRAINED)
    assert "Traceback" not in program.stdout + program.stderr


def test_the_drain_reports_how_much_is_left(start: Starter) -> None:
    """`draining backlog=N` counts down, and an estimate says how long it may take."""
    program = start("run", *SMALL_QUEUE, "--time-scale", "0.4", "--seed", "3", "-j", "8")
    program.wait_for("✓ job 8 ")
    program.signal()
    program.wait()

    left = [int(line.split("=")[1]) for line in program.log_lines if line.startswith("draining backlog=")]
    assert left[-1] == 0
    assert left == sorted(left, reverse=True)
    assert any(
        re.fullmatch(r"\d+ jobs left, about \d+s with 8 workers; .*", line) for line in program.log_lines
    )


def test_the_second_signal_forces(start: Starter) -> None:
    """A second Ctrl+C, more than a second later, leaves the rest unfinished and exits with 130."""
    program = start("run", *SMALL_QUEUE, "--seed", "1", "--log-format", "json")
    program.wait_for("source_stalled")
    program.signal()
    program.wait_for("draining backlog=")
    press_until_it_counts(program)

    assert program.wait() == 128 + signal.SIGINT
    end = json.loads(program.log.splitlines()[-1])
    assert end["event"] == "run_finished"
    assert end["unfinished"] > 10


def press_until_it_counts(program: Program) -> None:
    """Send SIGINT again until it forces: within a second of the first it is taken for an echo."""
    while program.process.poll() is None and "second signal —" not in program.log:
        program.signal()
        with contextlib.suppress(subprocess.TimeoutExpired):
            program.process.wait(0.3)


def test_an_echo_of_the_first_signal_does_not_force(start: Starter) -> None:
    """Some launchers deliver one Ctrl+C twice; the second within a second changes nothing."""
    program = start("run", "--profile", "demo", "--time-scale", "0.2", "--seed", "3")
    program.wait_for("✓ job 20 ")
    program.signal()
    program.wait_for("beginning drain")
    program.signal()

    assert program.wait() == 0
    assert program.log_lines[-1] == "graceful exit complete"


def test_drain_running_leaves_the_queue(start: Starter) -> None:
    """With `--drain running` queued jobs stay unfinished, and that is not a success."""
    program = start("run", *SMALL_QUEUE, "--time-scale", "0.5", "--drain", "running", "--seed", "1")
    program.wait_for("queue 20/20")
    program.signal()

    assert program.wait() == 128 + signal.SIGINT
    assert re.fullmatch(r"stopped with \d+ jobs unfinished", program.log_lines[-1])


def test_a_drain_timeout_forces(start: Starter) -> None:
    """`--drain-timeout` does what a second signal does."""
    program = start("run", *SMALL_QUEUE, "--drain-timeout=100ms", "--kill-grace=100ms", "--seed=1")
    program.wait_for("queue 20/20")
    program.signal(signal.SIGTERM)

    assert program.wait() == 128 + signal.SIGTERM
    assert any(line.startswith("drain timeout — ") for line in program.log_lines)


def test_an_ignored_signal_stays_ignored(start: Starter) -> None:
    """Started by a script with `&` or nohup, SIGINT is ignored; it must not stop the run."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        program = start("run", "--profile", "demo", "--time-scale", "0.2", "--failure-rate", "0")
    finally:
        signal.signal(signal.SIGINT, before)
    program.wait_for("✓ job 5 ")
    program.signal(signal.SIGINT)
    program.wait_for("✓ job 60 ")
    program.signal(signal.SIGTERM)

    assert program.wait() == 0


def interrupt_at_random(start: Starter, times: int, seed: int) -> None:
    """Interrupt *times* runs at random instants and count their jobs."""
    luck = random.Random(seed)
    for number in range(times):
        program = start(
            "run", "--profile=demo", "--time-scale=0.02", f"--seed={number}", "--log-format=json", "-j4"
        )
        program.wait_for("run_started")
        with contextlib.suppress(subprocess.TimeoutExpired):
            program.process.wait(luck.uniform(0, 0.4))  # a random instant, not an order of events
        program.signal()
        code = program.wait()
        events = [json.loads(line) for line in program.log.splitlines()]
        ended = sorted(event["job"] for event in events if event["event"] in ("job_succeeded", "job_failed"))
        failed = sum(event["event"] == "job_failed" for event in events)
        assert code == (1 if failed else 0), program.stderr
        assert "Traceback" not in program.stdout + program.stderr
        assert ended == list(range(1, len(ended) + 1)), "an accepted job is missing or was counted twice"
        assert events[-1]["event"] == "run_finished"
        assert events[-1]["succeeded"] + events[-1]["failed"] == len(ended)


def test_interrupts_at_random_instants_lose_nothing(start: Starter) -> None:
    """SIGINT at any moment: no hang, no traceback, each accepted job ends once."""
    interrupt_at_random(start, 8, seed=1)


@pytest.mark.soak
def test_five_hundred_interrupts_lose_nothing(start: Starter) -> None:
    """The same, 500 times."""
    interrupt_at_random(start, 500, seed=2)


def test_a_full_queue_is_told_once_per_change(start: Starter) -> None:
    """The line names target, actual rate, fill and wait, and comes once, not per job."""
    program = start("run", *SMALL_QUEUE, "--time-scale", "0.3", "--seed", "1")
    program.wait_for("✓ job 8 ")
    program.signal()
    program.wait()

    told = [line for line in program.log_lines if line.startswith("rate target")]
    assert len(told) == 1
    pattern = r"rate target 166\.7/s, actual \d+\.\d/s, queue 20/20, wait (about \d+s|unknown)"
    assert re.fullmatch(pattern, told[0])


def test_a_console_that_goes_away_is_dropped(tmp_path: Path) -> None:
    """`run | head -1` goes on to its end, with the file complete and one line about the console."""
    shell = '"$@" | head -n 1; echo "codes ${PIPESTATUS[0]}"'
    command = ["bash", "-c", shell, "bash", *PIPELINE, "run", "--jobs=30", "--time-scale=0.01", "--seed=1"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )

    assert done.stdout.splitlines()[1:] == ["codes 0"]
    assert done.stderr == ""
    log = (tmp_path / "logs" / "pipeline.log").read_text()
    assert log.count("✓ job") == 30
    assert log.count("log to stdout ends here: Broken pipe") == 1


def test_a_full_console_is_dropped(tmp_path: Path) -> None:
    """`run > /dev/full` goes on too: the log is not the result."""
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*PIPELINE, "run", "--jobs=5", "--time-scale=0"],
            cwd=tmp_path,
            stdout=full,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            check=False,
        )

    assert (done.returncode, done.stderr) == (0, b"")
    assert "graceful exit complete" in (tmp_path / "logs" / "pipeline.log").read_text()


def test_marks_are_ascii_where_the_encoding_is(run: Starter) -> None:
    """A terminal without UTF-8 gets ASCII marks; the file stays UTF-8."""
    program = run(
        "run", "--jobs=2", "--time-scale=0", "--failure-rate=0", PYTHONIOENCODING="ascii", PYTHONUTF8="0"
    )

    assert program.process.returncode == 0
    assert "pipeline running -- press Ctrl+C" in program.stdout
    assert "ok job 1 handled by worker" in program.stdout
    assert "✓ job 1 handled by worker" in program.log
