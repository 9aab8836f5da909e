"""The written results of a run: the job log, results, JUnit, the summary, and the failed records."""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.acceptance.conftest import PATIENCE_S, PIPELINE, Starter
from tests.acceptance.test_simulation import press_until_it_counts

HOSTILE = b"a\nb\0]]>&<\x1b[31m\0\xff\xfe\0\xe2\x80\xae$(touch canary)\0'\"\0"
_SLOW_AND_FAILING = 'test "$1" != 2 || test -e again || { touch again; exit 1; }; sleep 0.1; test "$1" != 3'
FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")


def json_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def by_job(path: Path) -> dict[int, dict[str, Any]]:
    lines = json_lines(path)
    found = {line["job"]: line for line in lines}
    assert len(found) == len(lines)
    return found


def rows(path: Path) -> list[list[str]]:
    """The rows of a job log, by job, without its header."""
    header, *lines = path.read_text(errors="surrogateescape").splitlines()
    assert header.split("\t")[0] == "Seq"
    return sorted((line.split("\t", 8) for line in lines), key=lambda row: int(row[0]))


def test_a_row_per_job_in_the_columns_of_gnu_parallel(run: Starter, tmp_path: Path) -> None:
    """Exit values and signals as it has them; nothing after the command; the last attempt only."""
    script = 'case $1 in kill) kill -9 $$;; slow) sleep 60;; *) echo "$1"; exit "$1";; esac'
    done = run(
        *("run", "-i", "-", "--joblog", "jobs.tsv", "--timeout", "500ms", "--max-retries", "1", "-j", "4"),
        *("--", "sh", "-c", script, "sh"),
        stdin="0\n3\nkill\nslow\n127\n",
    )
    assert done.process.returncode == 1
    found = rows(tmp_path / "jobs.tsv")
    assert [("0", "0"), ("3", "0"), ("0", "9"), ("-1", "15"), ("127", "0")] == [(r[6], r[7]) for r in found]
    assert ["2", "2", "0", "0", "4"] == [row[5] for row in found]
    assert all((row[1], row[4], len(row[3])) == (":", "0", 10) for row in found)
    assert found[2][8] == f"sh -c {shlex.quote(script)} sh kill"


def test_a_recorded_trace_is_what_simulate_reads(run: Starter, tmp_path: Path) -> None:
    """A line per job that is over: when it came and was accepted, each attempt's seconds, and how it went; none half written."""
    options = ("--record-trace", "trace.jsonl", "--max-retries", "1", "-j", "2")
    done = run("run", "-i", "-", *options, "--", "sh", "-c", _SLOW_AND_FAILING, "sh", stdin="1\n2\n3\n4\n")
    assert done.process.returncode == 1
    lines = json_lines(tmp_path / "trace.jsonl")
    simulated = run(
        "simulate", "--trace", str(tmp_path / "trace.jsonl"), "--policy", "fixed", "--format", "json"
    )
    assert simulated.process.returncode == 0

    assert [[False, False], [False, True], [True], [True]] == sorted(line["ok"] for line in lines)
    assert all(0 <= line["gap"] <= line["t"] <= line["accepted"] for line in lines)
    assert all(
        seconds >= 0.1 for line in lines for seconds, ok in zip(line["svc"], line["ok"], strict=True) if ok
    )
    found = json.loads(simulated.stdout)["policies"]["fixed"]
    assert (3, 1) == (found["jobs_succeeded"], found["jobs_failed"])


def test_a_trace_of_the_simulated_load_can_be_recorded(run: Starter, tmp_path: Path) -> None:
    """Without a journal, and without records."""
    done = run("run", "--jobs", "20", "--time-scale", "0.01", "--record-trace", "trace.jsonl")
    assert done.process.returncode in (0, 1)

    assert 20 == len(json_lines(tmp_path / "trace.jsonl"))


def test_hostile_records_keep_every_file_whole(run: Starter, tmp_path: Path) -> None:
    """A newline, a NUL's neighbours, an escape, bytes that are no text: one row, one line, one case each."""
    done = run(
        *("run", "-0", "-i", "-", "--joblog", "jobs.tsv", "--results", "out.jsonl", "--junit", "out.xml"),
        *(
            "--summary-json",
            "end.json",
            "--max-retries",
            "0",
            "--",
            "sh",
            "-c",
            'printf %s "$1"; exit 1',
            "sh",
        ),
        stdin=HOSTILE,
    )
    assert done.process.returncode == 1
    assert not (tmp_path / "canary").exists()
    assert len(rows(tmp_path / "jobs.tsv")) == 5
    assert b"\0" not in (tmp_path / "jobs.tsv").read_bytes()
    assert {1, 2, 3, 4, 5} == set(by_job(tmp_path / "out.jsonl"))
    assert by_job(tmp_path / "out.jsonl")[1]["record"] == "a\nb"
    suite = ET.parse(tmp_path / "out.xml").getroot()
    assert ("5", "5", "0") == (suite.get("tests"), suite.get("failures"), suite.get("skipped"))
    assert {r"]]>&<\x1b[31m", r"\xff\xfe"} < {case.get("name") for case in suite.iter("testcase")}
    end = json.loads((tmp_path / "end.json").read_text())
    assert (5, 1, {"exit 1": 5}) == (end["failed"], end["exit_code"], end["causes"])
    (failed,) = (tmp_path / "logs").glob("failed-*.nul")
    assert sorted(HOSTILE.split(b"\0")) == sorted(failed.read_bytes().split(b"\0"))


def test_the_command_of_a_row_can_be_run_as_it_stands(run: Starter, tmp_path: Path) -> None:
    """Copied into bash it does what the job did."""
    done = run("run", "-0", "-i", "-", "--joblog", "jobs.tsv", "--", "printf", "[%s]", stdin=b"a\nb'\x1b\0")
    ((*_, command),) = rows(tmp_path / "jobs.tsv")
    again = subprocess.run(["bash", "-c", command], capture_output=True, check=True)
    assert again.stdout == (done.folder / "stdout").read_bytes() == b"[a\nb'\x1b]"


def test_a_second_run_needs_a_plus_to_append(run: Starter, tmp_path: Path) -> None:
    """Without it an existing file is refused before the first job, and stays as it was."""
    paths = [str(tmp_path / name) for name in ("jobs.tsv", "out.jsonl")]
    options = ("--joblog", paths[0], "--results", paths[1])
    assert run("run", "-i", "-", *options, "--", "echo", stdin="a\n").process.returncode == 0
    for option, path in zip(("--joblog", "--results"), paths, strict=True):
        before = Path(path).read_bytes()
        refused = run("run", "-i", "-", option, path, "--", "touch", "{}", stdin="canary\n")
        assert (refused.process.returncode, refused.stdout) == (2, "")
        assert refused.stderr == (
            f"pipeline: error: {option} {path}: holds something already\n  hint: {option} +{path} appends to it\n"
        )
        assert Path(path).read_bytes() == before
        assert not {"logs", "canary"} & {entry.name for entry in refused.folder.iterdir()}
    Path(paths[0]).write_bytes(Path(paths[0]).read_bytes()[:-3])  # as a kill in the middle of a row leaves it
    options = ("--joblog", f"+{paths[0]}", "--results", f"+{paths[1]}")
    assert run("run", "-i", "-", *options, "--", "echo", stdin="b\n").process.returncode == 0
    assert [("1", "echo"), ("1", "echo b")] == [(row[0], row[8]) for row in rows(Path(paths[0]))]
    assert ["a", "b"] == [line["record"] for line in json_lines(Path(paths[1]))]


def test_an_empty_file_may_be_there(run: Starter, tmp_path: Path) -> None:
    """As mktemp leaves it: nothing is lost."""
    (tmp_path / "jobs.tsv").touch()
    assert run("run", "-i", "-", "--joblog", "jobs.tsv", "--", "echo", stdin="a\n").process.returncode == 0
    assert len(rows(tmp_path / "jobs.tsv")) == 1


@FULL
@pytest.mark.parametrize("option", ["--joblog", "--results"])
def test_a_full_disk_is_exit_4_and_never_0(run: Starter, option: str) -> None:
    """GNU parallel exits with 0 and without a word there."""
    done = run("run", "-i", "-", option, "/dev/full", "--", "echo", "{}", stdin="a\nb\n")
    assert done.process.returncode == 4
    assert f"pipeline: error: {option} /dev/full cannot be written: No space left on device" in done.stderr


@pytest.mark.parametrize("option", ["--joblog", "--results", "--junit", "--summary-json", "--record-trace"])
def test_a_place_that_cannot_be_written_is_exit_4_before_the_first_job(run: Starter, option: str) -> None:
    """One line that names it; no job runs."""
    done = run("run", "-i", "-", option, "no/such/place", "--", "touch", "{}", stdin="canary\n")
    assert (done.process.returncode, done.stdout) == (4, "")
    assert (
        f"pipeline: error: {option} no/such/place cannot be written: No such file or directory\n"
        == done.stderr
    )
    assert not (done.folder / "canary").exists()


REFUSED = [
    (("--joblog", "."), "--joblog .: is a folder"),
    (("--joblog", "+"), "--joblog needs the name of a file"),
    (("--junit", "-"), "--junit needs the name of a file"),
    (("--junit", "pipe"), "--junit pipe: is no file that could be replaced"),
    (("--summary-json", "pipe"), "--summary-json pipe: is no file that could be replaced"),
    (("--joblog", "x", "--results", "./x"), "--joblog and --results name the same file"),
    (("--results", "-"), "--results - and the output of the commands would mix on stdout"),
]


@pytest.mark.parametrize(("options", "text"), REFUSED)
def test_mistakes_are_told_before_anything_is_created(
    run: Starter, tmp_path: Path, options: tuple[str, ...], text: str
) -> None:
    """Exit 2, and nothing new is there afterwards."""
    os.mkfifo(
        tmp_path / "pipe"
    )  # stands for any device: a real one must not be in reach of a test that goes wrong
    done = run("run", "-i", "-", *options, "--", "touch", "canary", stdin="a\n")
    assert (done.process.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"pipeline: error: {text}")
    assert sorted(entry.name for entry in done.folder.iterdir()) == ["pipe", "stderr", "stdin", "stdout"]


@pytest.mark.parametrize("option", ["--joblog", "--results", "--junit"])
def test_reports_on_records_belong_to_real_work(run: Starter, option: str) -> None:
    """The simulation has none."""
    done = run("run", "--jobs", "1", "--time-scale", "0", option, "x")
    assert done.process.returncode == 2
    assert f"{option} belongs to real work" in done.stderr


def test_results_of_a_function(run: Starter, tmp_path: Path) -> None:
    """What it returned, as JSON; what is no JSON is that job's failure, and is not tried again."""
    (tmp_path / "task.py").write_text(
        "def f(r):\n"
        "    print('a print', flush=True)\n"
        "    return {'set': {1}, 'nan': float('nan'), 'raise': None}.get(r['kind'], r)\n"
    )
    lines = "".join(f'{{"kind": "{kind}"}}\n' for kind in ("plain", "set", "nan"))
    done = run(
        "run", "-i", "-", "--format", "jsonl", "--results", "out.jsonl", "--call", "task:f", stdin=lines
    )
    assert done.process.returncode == 1
    found = by_job(tmp_path / "out.jsonl")
    assert ("succeeded", {"kind": "plain"}) == (found[1]["state"], found[1]["value"])
    assert found[1]["record"] == '{"kind": "plain"}'
    assert "the returned set is no JSON: Object of type set is not JSON serializable" == found[2]["error"]
    assert [1, 1, 1] == [len(found[job]["attempts"]) for job in (1, 2, 3)]
    assert "FAILED the returned set is no JSON: 1 job" in done.stderr


def test_results_on_stdout_are_nothing_but_results(run: Starter, tmp_path: Path) -> None:
    """What the function prints goes to stderr: a line of JSON stays one, for the program that reads it."""
    (tmp_path / "task.py").write_text("def f(r):\n    print('x' * 50000)\n    return r.upper()\n")
    lines = "".join(f"r{number}\n" for number in range(50))
    done = run("run", "-i", "-", "-j", "4", "--results", "-", "--call", "task:f", stdin=lines)
    assert done.process.returncode == 0
    values = {line["value"] for line in json_lines(done.folder / "stdout")}
    assert values == {f"R{number}" for number in range(50)}
    assert "x" * 50000 in done.stderr


def test_results_of_commands_on_stdout_with_the_output_in_files(run: Starter) -> None:
    """The two do not mix."""
    done = run("run", "-i", "-", "--results", "-", "--output", "kept", "--", "echo", stdin="a\n")
    assert done.process.returncode == 0
    (line,) = json_lines(done.folder / "stdout")
    assert (2, "echo a") == (line["stdout_bytes"], line["command"])
    assert (done.folder / "kept" / "1.out").read_text() == "a\n"


def test_a_reader_of_the_results_that_goes_away_is_141(tmp_path: Path) -> None:
    """As for any output on stdout."""
    shell = 'seq 100000 | "$@" | head -n 1 >/dev/null; echo "${PIPESTATUS[1]}"'
    command = [*PIPELINE, "run", "-i", "-", "--results", "-", "--call", "builtins:str"]
    done = subprocess.run(
        ["bash", "-c", shell, "bash", *command],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "141\n"


def test_a_call_has_rows_too(run: Starter, tmp_path: Path) -> None:
    """The call as Python, 0 or 1."""
    done = run(
        "run",
        "-i",
        "-",
        "--joblog",
        "jobs.tsv",
        "--max-retries",
        "0",
        "--call",
        "builtins:int",
        stdin="1\nx'\n",
    )
    assert done.process.returncode == 1
    assert [("0", "0", "builtins:int('1')"), ("1", "0", 'builtins:int("x\'")')] == [
        (row[6], row[7], row[8]) for row in rows(tmp_path / "jobs.tsv")
    ]


def test_junit_replaces_the_report_of_the_run_before(run: Starter, tmp_path: Path) -> None:
    """Only by a whole one; the failure has the end of the job's output."""
    (tmp_path / "out.xml").write_text("old")
    command = ("--", "sh", "-c", 'echo out; echo "err $1" >&2; test "$1" = a', "sh")
    done = run("run", "-i", "-", "--junit", "out.xml", "--max-retries", "0", *command, stdin="a\nb\n")
    assert done.process.returncode == 1
    suite = ET.parse(tmp_path / "out.xml").getroot()
    (failure,) = suite.iter("failure")
    assert ("exit 1", "err b") == (failure.get("message"), failure.text)
    assert not list(tmp_path.glob(".*.part"))


def test_a_run_that_was_stopped_says_so_in_its_reports(start: Starter, tmp_path: Path) -> None:
    """What was not run is skipped, and has no row; that the input was not read is an error of the report."""
    reader, writer = os.pipe()
    os.write(writer, b"a\nb\nc\n")
    reports = ("--joblog", "jobs.tsv", "--results", "o.jsonl", "--junit", "o.xml", "--summary-json", "o.json")
    program = start(
        *(
            "run",
            "-i",
            "-",
            "-j",
            "1",
            "--kill-grace",
            "100ms",
            *reports,
            "--",
            "sh",
            "-c",
            "echo >s; sleep 60",
        ),
        stdin=reader,
    )
    os.close(reader)
    subprocess.run(["sh", "-c", f"until test -s '{tmp_path}/s'; do sleep 0.01; done"], timeout=30, check=True)
    press_until_it_counts(program)
    assert program.wait() == 130
    os.close(writer)
    assert rows(tmp_path / "jobs.tsv") == []
    found = by_job(tmp_path / "o.jsonl")
    assert ("unfinished", "interrupted") == (found[1]["state"], found[1]["reason"])
    suite = ET.parse(tmp_path / "o.xml").getroot()
    assert ("1", str(len(found))) == (suite.get("errors"), suite.get("skipped"))
    end = json.loads((tmp_path / "o.json").read_text())
    assert (130, False, len(found)) == (end["exit_code"], end["is_source_complete"], end["unfinished"])


def test_a_run_that_is_killed_leaves_no_half_report(start: Starter, tmp_path: Path) -> None:
    """What stood there before is still there; rows that were written are whole."""
    (tmp_path / "out.xml").write_text("old")
    program = start(
        *(
            "run",
            "-i",
            "-",
            "--junit",
            "out.xml",
            "--summary-json",
            "end.json",
            "--joblog",
            "jobs.tsv",
            "-j",
            "1",
        ),
        *("--", "sh", "-c", 'test "$1" = a || { echo >s; sleep 60; }', "sh"),
        stdin="a\nb\n",
    )
    subprocess.run(["sh", "-c", f"until test -s '{tmp_path}/s'; do sleep 0.01; done"], timeout=30, check=True)
    program.wait_for("✓ job 1 ")
    os.killpg(program.process.pid, signal.SIGKILL)
    program.process.wait(PATIENCE_S)
    assert (tmp_path / "out.xml").read_text() == "old"
    assert not (tmp_path / "end.json").exists()
    assert ["1"] == [row[0] for row in rows(tmp_path / "jobs.tsv")]


def test_the_summary_of_a_simulation(run: Starter, tmp_path: Path) -> None:
    """It has no records, but it has counts."""
    done = run("run", "--jobs", "5", "--time-scale", "0", "--failure-rate", "1", "--summary-json", "end.json")
    end = json.loads((tmp_path / "end.json").read_text())
    assert done.process.returncode == end["exit_code"] == 1
    assert (5, 0, 5, 0, 15) == tuple(
        end[key] for key in ("accepted", "succeeded", "failed", "unfinished", "retries")
    )
    assert {1, 2, 3, 4, 5} == {job["job"] for job in end["failed_jobs"]}
    assert {4} == {job["attempts"] for job in end["failed_jobs"]}


def test_what_failed_can_be_run_again_by_the_command_that_is_shown(run: Starter, tmp_path: Path) -> None:
    """It takes the failed rows as they stood, with the same options, and appends to the same files."""
    (tmp_path / "in.csv").write_bytes(b'id,"the name"\r\n1,"a\r\nb"\r\n2,ok\r\n3,c\r\n')
    script = 'test "$2" = 2 || test -e fixed || { printf %s "$1" >&2; exit 7; }'
    done = run(
        *(
            "run",
            "-i",
            "in.csv",
            "-j",
            "2",
            "--max-retries=0",
            "--joblog",
            "jobs.tsv",
            "--set",
            "log.format=text",
        ),
        *("--set", "shutdown.drain=all", "--", "sh", "-c", script, "sh", "{the name}", "{id}"),
    )
    assert done.process.returncode == 1
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("run them again: "))
    command = line.removeprefix("run them again: ")
    assert command.startswith(
        f"{sys.executable} {PIPELINE[1]} run -i in.csv --retry-failed --joblog +jobs.tsv "
    )
    assert (
        f" -j 2 --max-retries 0 --set log.format=text --set shutdown.drain=all -- sh -c {shlex.quote(script)} "
        in command
    )
    (failed,) = (tmp_path / "logs").glob("failed-*")
    assert failed.read_bytes() in {b'id,"the name"\n1,"a\r\nb"\n3,c\n', b'id,"the name"\n3,c\n1,"a\r\nb"\n'}
    (tmp_path / "fixed").touch()
    again = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert again.returncode == 0, again.stderr
    assert again.stderr.splitlines()[-1] == "0 failed, 3 ok, 0 not run — exit 0"
    assert ["1", "1", "2", "3", "3"] == sorted(row[0] for row in rows(tmp_path / "jobs.tsv"))


@pytest.mark.parametrize(
    "work",
    [("-c", "false {}"), ("--lines",), ("--call", "builtins:int"), ("--output", "kept", "--", "false")],
)
def test_every_kind_of_work_can_be_run_again(run: Starter, tmp_path: Path, work: tuple[str, ...]) -> None:
    """The options say what it is."""
    done = run("run", "-i", "-", "--max-retries", "0", *work, stdin="false\n")
    assert done.process.returncode == 1
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("run them again: "))
    words = shlex.split(line.removeprefix("run them again: "))
    assert [str(path.relative_to(tmp_path)) for path in (tmp_path / "logs").glob("failed-*")] == [words[4]]
    again = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert again.returncode == 1
    assert "1 failed, 0 ok, 0 not run" in again.stderr


def test_records_that_were_not_kept_whole_are_told(run: Starter, tmp_path: Path) -> None:
    """They are not among those that can be run again."""
    (tmp_path / "in").write_bytes(b"x" * (1 << 21) + b"\nshort\n")
    done = run("run", "-i", "in", "--max-retries", "0", "--", "false")
    assert "without 1 failed record too long to be kept" in done.stderr
    (failed,) = (tmp_path / "logs").glob("failed-*")
    assert failed.read_bytes() == b"short\n"


def test_a_run_without_failures_leaves_no_file_of_them(run: Starter, tmp_path: Path) -> None:
    """And two lines at the end."""
    done = run("run", "-i", "-", "--", "true", stdin="a\nb\n")
    assert [] == list((tmp_path / "logs").glob("failed-*"))
    first, last = done.stderr.splitlines()[-2:]
    assert first.startswith("2 ok in ")
    assert first.endswith("s, 0 retries")
    assert last == "0 failed, 2 ok, 0 not run — exit 0"


def test_failures_are_told_with_the_end_of_their_output(run: Starter) -> None:
    """Grouped, in the order of the input, and it cannot forge the last line."""
    script = 'echo "0 failed, 9 ok\r" ; printf "\\033[2Jwhy $1\\n" >&2; exit "$1"'
    done = run(
        "run", "-i", "-", "-j", "4", "--max-retries", "0", "--", "sh", "-c", script, "sh", stdin="3\n4\n3\n"
    )
    end = done.stderr[done.stderr.index("FAILED") :].splitlines()
    assert end[:7] == [
        "FAILED exit 3: 2 jobs",
        "  job 1  -:1  3",
        r"      \x1b[2Jwhy 3",
        "  job 3  -:3  3",
        r"      \x1b[2Jwhy 3",
        "FAILED exit 4: 1 job",
        "  job 2  -:2  4",
    ]
    assert end[-1] == "3 failed, 0 ok, 0 not run — exit 1"


@pytest.mark.parametrize("option", ["--joblog", "--results"])
def test_a_pipe_without_a_reader_is_exit_4_before_the_first_job(
    run: Starter, tmp_path: Path, option: str
) -> None:
    """The program would wait for ever where it hears no signal."""
    os.mkfifo(tmp_path / "pipe")
    done = run("run", "-i", "-", option, "pipe", "--", "touch", "ran", stdin="a\n")

    assert 4 == done.process.returncode
    assert f"{option} pipe cannot be written: it has no reader" in done.stderr
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("option", ["--joblog", "--results"])
def test_a_file_that_another_program_locks_is_exit_4(run: Starter, tmp_path: Path, option: str) -> None:
    """The same: its lock may be held for ever."""
    with (tmp_path / "held").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        done = run("run", "-i", "-", option, "held", "--", "true", stdin="a\n")

    assert 4 == done.process.returncode
    assert f"{option} held cannot be written: another program holds it" in done.stderr


def test_a_command_that_was_refused_and_corrected_runs(run: Starter, tmp_path: Path) -> None:
    """The first one has left nothing that stands in the way of the second."""
    args = ("run", "-i", "-", "--joblog", "jobs.tsv", "--results")
    codes = [
        run(*args, name, "--", "true", stdin="a\n").process.returncode
        for name in (str(tmp_path / "no" / "x"), str(tmp_path / "x"))
    ]

    assert [4, 0] == codes


def test_a_field_that_cannot_be_written_is_a_bad_record_in_run_and_dry_run(
    run: Starter, tmp_path: Path
) -> None:
    """Half of a pair, and brackets by the hundred: told once, without a retry, and the next record runs."""
    deep = 950 * "[" + 950 * "]"
    (tmp_path / "in.jsonl").write_text(f'{{"a":"\\ud800x"}}\n{{"a":{deep}}}\n{{"a":"good"}}\n')
    args = ("run", "-i", str(tmp_path / "in.jsonl"), "-k")
    tried = run(*args, "--dry-run", "--", "echo", "{a}")
    done = run(*args, "--joblog", "jobs.tsv", "--results", "out.jsonl", "--", "echo", "{a}")

    assert (1, "echo good\n", 1, "good\n") == (
        tried.process.returncode,
        tried.stdout,
        done.process.returncode,
        done.stdout,
    )
    problems = ["its field 'a' holds half of a character", "it is nested more than 250 levels deep"]
    assert all(f"bad record: {text}" in seen for text in problems for seen in (tried.stderr, done.stderr))
    assert {1: 1, 2: 1, 3: 1} == {
        job: len(line["attempts"]) for job, line in by_job(done.folder / "out.jsonl").items()
    }


def test_outputs_that_somebody_removed_end_the_run(run: Starter, tmp_path: Path) -> None:
    """A fault of the run and not of its jobs: nothing is run twice, and it is told what has gone."""
    (tmp_path / "tmp").mkdir()
    script = 'echo "$1" >>ran; rm -r "$TMPDIR"/dynamic-pipeline-*'
    done = run(
        *("run", "-i", "-", "-j", "1", "--", "sh", "-c", script, "sh"),
        stdin="a\nb\n",
        TMPDIR=str(tmp_path / "tmp"),
    )

    assert (4, "a\n") == (done.process.returncode, (tmp_path / "ran").read_text())
    assert "the jobs' output cannot be written: " in done.stderr
    assert "has been removed" in done.stderr


def test_no_row_stands_for_an_output_that_was_lost(tmp_path: Path) -> None:
    """stdout is full: nothing more is started, and what was not shown is not called done."""
    (tmp_path / "in").write_text("".join(f"{number}\n" for number in range(200)))
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [
                *PIPELINE,
                "run",
                "-i",
                "in",
                "-j",
                "2",
                "--joblog",
                "log.tsv",
                "--",
                "sh",
                "-c",
                "echo $1 >> ran; echo $1",
                "sh",
            ],
            cwd=tmp_path,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )

    assert 4 == done.returncode
    assert 1 == len((tmp_path / "log.tsv").read_text().splitlines())  # the header
    assert len((tmp_path / "ran").read_text().split()) < 20


def test_github_is_told_where_the_run_is_there(run: Starter, tmp_path: Path) -> None:
    """An annotation per failure on stderr, and a summary in the step's file; nothing elsewhere, and no other exit code."""
    command = ("run", "-i", "-", "--max-retries", "0", "--", "sh", "-c", 'test "$1" = a', "sh")
    there = run(
        *command, stdin="a\nb\n", GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(tmp_path / "step.md")
    )
    elsewhere = run(*command, stdin="a\nb\n")
    full = run(*command, stdin="a\nb\n", GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(tmp_path))

    assert "::error title=job 2 failed::exit 1: b" in there.stderr.splitlines()
    assert "| 1 | 1 | 0 | 0 |" in (tmp_path / "step.md").read_text()
    assert "::error" not in elsewhere.stderr
    assert "warning: GITHUB_STEP_SUMMARY cannot be written: Is a directory" in full.stderr
    assert [1, 1, 1] == [each.process.returncode for each in (there, elsewhere, full)]
