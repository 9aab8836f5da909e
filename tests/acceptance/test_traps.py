"""The measured traps of GNU parallel and xargs, one by one: ours falls into none. Those that need more than a few
lines have tests of their own elsewhere; `ELSEWHERE` names them, and a test looks that they exist."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.conftest import PIPELINE, Starter

HERE = Path(__file__).parent
ELSEWHERE = {
    "exit 0 with stdout on a full disk": "test_a_full_disk_under_the_output_is_exit_4",
    "a value in quotes is run": "test_where_gnu_parallel_runs_the_value",
    "a quote in a record breaks the line": "test_records_are_arguments_not_shell_text",
    "CSV needs a module": "test_a_row_of_csv_with_named_fields",
    "a job reads the records": "test_a_job_does_not_read_the_records",
    "the job waits for a grandchild that holds the output": "test_a_job_is_over_when_its_leader_exits_and_stragglers_are_told",
    "the output of what is killed is lost": "test_halt_now_ends_what_runs_and_keeps_what_it_wrote",
    "a leader that ignores TERM, and its child": "test_the_second_signal_ends_commands_with_all_they_started",
    "Ctrl+C reaches the jobs": "test_children_survive_the_terminals_ctrl_c",
}


def test_those_elsewhere_exist() -> None:
    """Each named test is there."""
    names = set(
        re.findall(r"^def (test_\w+)", "".join(p.read_text() for p in HERE.glob("test_*.py")), re.MULTILINE)
    )
    assert {trap: name for trap, name in ELSEWHERE.items() if name not in names} == {}


def test_a_folder_as_input_is_no_success(run: Starter, tmp_path: Path) -> None:
    """GNU parallel leaves with 0."""
    (tmp_path / "folder").mkdir()
    program = run("run", "-i", "folder", "--", "echo")

    assert (program.process.returncode, program.stdout) == (2, "")
    assert "folder" in program.stderr


def test_a_hangup_with_work_left_is_no_success(start: Starter) -> None:
    """It drains, and leaves with 129; GNU parallel leaves with 0 and half of the records never run."""
    script = 'if test "$1" = 1; then touch going; until test -e go; do sleep 0.01; done; fi'
    records = "".join(f"{number}\n" for number in range(1, 2001))
    options = ("-j", "1", "--drain", "running")
    program = start("run", "-i", "-", *options, "--", "sh", "-c", script, "sh", stdin=records)
    subprocess.run(["sh", "-c", "until test -e going; do sleep 0.01; done"], cwd=program.folder, check=True)
    program.signal(signal.SIGHUP)
    program.wait_for("beginning drain")
    (program.folder / "go").touch()

    assert program.wait() == 128 + signal.SIGHUP
    assert re.search(r"0 failed, 1 ok, [1-9]\d* not run — exit 129$", program.stderr.strip())


def test_a_carriage_return_is_not_part_of_the_value(run: Starter) -> None:
    """GNU parallel and xargs pass `a\\r` on; here it goes, with one warning."""
    program = run("run", "-i", "-", "-k", "--", "printf", "[%s]", stdin=b"a\r\nb\r\n")

    assert program.stdout == "[a][b]"
    assert program.log.count("the CR was dropped") == 1


def test_a_byte_order_mark_is_not_part_of_the_first_value(run: Starter) -> None:
    """Every file from a spreadsheet has one."""
    program = run("run", "-i", "-", "-k", "--", "printf", "[%s]", stdin=b"\xef\xbb\xbfa\nb\n")

    assert program.stdout == "[a][b]"


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("{5}", "{5}: there is no such value (columns: 1 to 2)"),
        ("{nosuch}", "{nosuch}: there is no such value"),
    ],
)
def test_a_value_that_is_not_there_is_neither_empty_nor_text(
    run: Starter, tmp_path: Path, word: str, text: str
) -> None:
    """GNU parallel makes the fifth of two columns empty: think of `rm -rf /{5}`."""
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    program = run("run", "-i", "t.csv", "-c", f"echo /{word}")

    assert (program.process.returncode, program.stdout) == (2, "")
    assert text in program.stderr


def test_an_argument_that_is_too_long_fails_alone(run: Starter) -> None:
    """GNU parallel and xargs give the whole run up."""
    records = "a\n" + "x" * 200_000 + "\nb\n"
    program = run("run", "-i", "-", "-k", "--", "echo", stdin=records)

    assert (program.process.returncode, program.stdout) == (1, "a\nb\n")
    assert "the arguments are too long for this system" in program.stderr


def test_a_timeout_keeps_the_output_so_far_and_ends_the_grandchild(run: Starter, tmp_path: Path) -> None:
    """All of the group goes; what was written until then is shown."""
    script = "echo before; sleep 60 & echo $! > pid; wait"
    options = ("--timeout", "1s", "--max-retries", "0")
    program = run("run", "-i", "-", *options, "--", "sh", "-c", script, "sh", stdin="a\n")

    assert (program.process.returncode, program.stdout) == (1, "before\n")
    stat = Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}/stat")
    assert not stat.exists() or ") Z " in stat.read_text()


def test_the_shell_is_the_same_from_cron_and_terminal(run: Starter) -> None:
    """GNU parallel takes the caller's $SHELL."""
    program = run("run", "-i", "-", "-c", "echo {} $0", stdin="a\n", SHELL="/bin/false")

    assert (program.process.returncode, program.stdout) == (0, "a sh\n")


def test_two_runs_that_share_a_joblog_lose_no_row(tmp_path: Path) -> None:
    """Both append at once; every row of both is there, whole."""
    (tmp_path / "in").write_text("".join(f"{number}\n" for number in range(200)))
    runs = [
        subprocess.Popen(
            [*PIPELINE, "run", "-i", "in", "-q", "--joblog", "+log.tsv", "--state-dir", name, "--", "true"],
            cwd=tmp_path,
        )
        for name in ("one", "two")
    ]
    assert [run.wait(60) for run in runs] == [0, 0]
    header, *rows = (tmp_path / "log.tsv").read_text().splitlines()
    assert header.split("\t")[0] == "Seq"
    assert sorted(row.split("\t")[0] for row in rows) == sorted([str(number) for number in range(1, 201)] * 2)
    assert all(len(row.split("\t")) == 9 for row in rows)


def test_every_attempt_is_recorded(run: Starter) -> None:
    """GNU parallel keeps the last try only."""
    script = 'test "$PIPELINE_JOB_ATTEMPT" = 3'
    program = run("run", "-i", "-", "--results", "r.jsonl", "--", "sh", "-c", script, "sh", stdin="a\n")
    code = "import json; print([a['exit'] for a in json.loads(open('r.jsonl').read())['attempts']])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=program.folder, capture_output=True, text=True, check=True
    )

    assert done.stdout == "[1, 1, 0]\n"
