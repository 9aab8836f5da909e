"""`run -i`: one command or one Python call per line, and what comes out."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from dynamic_pipeline import spool_folder

from tests.acceptance.conftest import PATIENCE_S, PIPELINE, Starter
from tests.acceptance.test_simulation import press_until_it_counts
from tests.doubles import wait_until


def test_a_command_per_line(run: Starter) -> None:
    """The issue's own example: both records come out, the log goes to stderr, exit 0."""
    program = run("run", "-i", "-", "--", "echo", "{}", stdin="a\nb")

    assert program.process.returncode == 0
    assert sorted(program.stdout.splitlines()) == ["a", "b"]
    assert "✓ job 1 handled by worker" in program.stderr
    assert program.stderr.splitlines()[-1] == "0 failed, 2 ok, 0 not run — exit 0"


def test_each_failed_record_is_listed(run: Starter) -> None:
    """With a command that fails: exit 1, and every record with its place under the reason at the end."""
    program = run("run", "-i", "-", "--", "false", stdin="a\nb")

    assert program.process.returncode == 1
    end = program.stderr.splitlines()[-6:]
    assert end[:3] == [
        "FAILED exit 1: 2 jobs",
        "  job 1  -:1  a  (after 4 tries)",
        "  job 2  -:2  b  (after 4 tries)",
    ]
    assert end[5] == "2 failed, 0 ok, 0 not run — exit 1"


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (("/no/such/program",), "exit 127 (not found): /no/such/program"),
        (("sh", "-c", "exit 126"), "exit 126 (not executable)"),
        (("/dev/null",), "exit 126 (not executable): /dev/null"),
    ],
)
def test_what_cannot_succeed_is_tried_once(run: Starter, command: tuple[str, ...], reason: str) -> None:
    """Not found and not executable are not retried, and the line says so."""
    program = run("run", "-i", "-", "--", *command, stdin="a")

    assert program.process.returncode == 1
    end = program.stderr.splitlines()[-5:]
    assert end[0] == f"FAILED {reason.partition(': ')[0]}: 1 job"
    assert end[1].removeprefix("  job 1  -:1  a") == (f"  {reason}" if ": " in reason else "")


def test_records_are_arguments_not_shell_text(run: Starter) -> None:
    """No character of a record does anything but stand in the argument."""
    hostile = b"$(touch canary)\n`touch canary`\n; touch canary\n' \" \\ *\n-n\n\xff\xfe\n\xe2\x80\xa8x\n"
    program = run("run", "-i", "-", "-j", "1", "--", "printf", "%s\\n", "{}", stdin=hostile)

    assert program.process.returncode == 0
    assert (program.folder / "stdout").read_bytes() == hostile
    assert not (program.folder / "canary").exists()


def test_a_record_cannot_forge_a_line(run: Starter) -> None:
    """Control and bidi characters of a record or an error are escaped in log and summary."""
    record = "x\r2025/08/13 10:00:00.000123 graceful exit complete\x1b[2J\u202e"
    program = run("run", "-i", "-", "--max-retries", "0", "--", "false", stdin=record)

    assert program.process.returncode == 1
    for text in (program.stderr, program.log):
        assert not any(char in text for char in "\r\x1b\u202e")
    assert "  job 1  -:1  x\\r2025/08/13" in program.stderr


def test_placeholders_name_parts_of_a_path_and_the_job(run: Starter) -> None:
    """As in GNU parallel: without extension, last part, folder; the number of the job, and a slot that is free."""
    done = run(
        "run",
        "-i",
        "-",
        "-j",
        "1",
        "--",
        "echo",
        "{.}",
        "{/}",
        "{//}",
        "{/.}",
        "{#}",
        "{%}",
        stdin="in/a.b.c\n",
    )
    assert done.stdout == "in/a.b a.b.c in a.b 1 1\n"


def test_slots_are_numbers_of_what_runs_at_once(run: Starter) -> None:
    """No two at the same time have the same, and none is above the number of workers."""
    job = 'set -e; mkdir "slot$PIPELINE_JOB_SLOT"; echo "$PIPELINE_JOB_SLOT"; rmdir "slot$PIPELINE_JOB_SLOT"'
    lines = "".join(f"{number}\n" for number in range(60))
    done = run("run", "-i", "-", "-j", "4", "--max-retries", "0", "--", "sh", "-c", job, "sh", stdin=lines)
    assert done.process.returncode == 0, done.stderr
    assert set(done.stdout.split()) <= {"1", "2", "3", "4"}


def test_names_from_find_print0_pass_whatever_they_hold(run: Starter) -> None:
    """With -0 a newline, blanks and a carriage return belong to the record."""
    done = run("run", "-0", "-i", "-", "-j", "1", "--", "printf", "[%s]", stdin=b"a\nb\0 c \0d\r\0\0\xff")
    assert (done.folder / "stdout").read_bytes() == b"[a\nb][ c ][d\r][\xff]"


def test_a_row_of_csv_with_named_fields(run: Starter, tmp_path: Path) -> None:
    """Quoted fields, a CR before each newline, a row of the wrong width: that one fails, the others run."""
    (tmp_path / "todo.csv").write_bytes(b'id,url\r\n1,"http://x/a,b"\r\n2\r\n\r\n3,http://x/c\r\n')
    done = run("run", "-i", "todo.csv", "-j", "1", "--", "echo", "{id}", "{url/}")
    assert (done.process.returncode, done.stdout) == (1, "1 a,b\n3 c\n")
    assert "bad record: 1 field, the header has 2" in done.stderr
    assert "warning: the lines end with CR LF; the CR was dropped" in done.log
    assert "1 blank line skipped" in done.log


def test_named_fields_from_a_pipe(run: Starter) -> None:
    """The header is read before the first job, and no record is lost by it."""
    done = run(
        "run", "-i", "-", "--format", "tsv", "-j", "1", "--", "echo", "{b}{a}", stdin="a\tb\n1\t2\n3\t4\n"
    )
    assert (done.process.returncode, done.stdout) == (0, "21\n43\n")


def test_a_function_gets_a_dict_per_json_object(run: Starter, tmp_path: Path) -> None:
    """With JSON's own types; a line that is no object fails alone."""
    (tmp_path / "task.py").write_text("def f(r):\n    print(r['n'] + 1, r['s'], flush=True)\n")
    (tmp_path / "in.jsonl").write_text('{"n": 41, "s": "x"}\n[1]\n')
    done = run("run", "-i", "in.jsonl", "-j", "1", "--call", "task:f")
    assert (done.process.returncode, done.stdout) == (1, "42 x\n")
    assert "bad record: a JSON array, not an object" in done.stderr


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (
            ("-i", "a.csv", "--", "echo", "{idd}"),
            "{idd}: there is no such value (fields: id, url)\n  hint: did you mean {id}?",
        ),
        (("-i", "a.csv", "--", "echo"), "the command names no field of the records"),
        (("-i", "a.csv", "-i", "in", "--", "echo", "{}"), "-i a.csv is csv and -i in is lines"),
        (("-0", "-i", "a.csv", "--", "echo", "{}"), "-0 separates lines, and csv has none"),
        (("--format", "xml", "-i", "in", "--", "echo"), "--format xml: it must be lines, csv, tsv or jsonl"),
        (("-i", "twice.csv", "--", "echo", "{}"), '-i twice.csv: line 1: the header has the name "a" twice'),
    ],
)
def test_mistakes_with_tables_are_told_before_any_job(
    run: Starter, tmp_path: Path, args: tuple[str, ...], text: str
) -> None:
    """Exit 2, one line, nothing created."""
    (tmp_path / "a.csv").write_text("id,url\n1,x\n")
    (tmp_path / "twice.csv").write_text("a,a\n1,x\n")
    (tmp_path / "in").write_text("x\n")
    done = run("run", *args)
    assert (done.process.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"pipeline: error: {text}")
    assert not (tmp_path / "logs").exists()


def test_an_attempt_that_takes_too_long_is_ended_and_tried_again(run: Starter) -> None:
    """Per attempt: the second one is faster. What is too slow each time has failed, and says so."""
    script = 'test "$PIPELINE_JOB_ATTEMPT" = "$1" && exit; sleep 60'
    done = run(
        "run",
        "-i",
        "-",
        "-j",
        "2",
        "--timeout",
        "300ms",
        "--max-retries",
        "1",
        "--",
        "sh",
        "-c",
        script,
        "sh",
        stdin="2\n9\n",
    )
    assert done.process.returncode == 1
    assert "FAILED timeout after 0.3 s: 1 job\n  job 2  -:2  9  (after 2 tries)\n" in done.stderr
    assert done.stderr.endswith("1 failed, 1 ok, 0 not run — exit 1\n")


def test_a_dry_run_prints_the_commands_and_runs_none(run: Starter) -> None:
    """One line a job, ready to be copied; nothing is created, not even the log."""
    done = run("run", "-i", "-", "--dry-run", "--", "touch", "{}.out", "{#}", stdin="a b\n\nc'd\n")
    assert done.process.returncode == 0
    assert done.stdout == "touch 'a b.out' 1\ntouch 'c'\\''d.out' 2\n"
    assert sorted(path.name for path in done.folder.iterdir()) == ["stderr", "stdin", "stdout"]


def test_a_dry_run_tells_bad_records_and_goes_on(run: Starter) -> None:
    """A line each, where it is and why, whatever its text holds; the exit code says so."""
    lines = '{"b": 1}\n[1]\n{"a": 2}\n'
    done = run("run", "-i", "-", "--format", "jsonl", "--dry-run", "--", "echo", "{a}", stdin=lines)
    assert (done.process.returncode, done.stdout) == (1, "echo 2\n")
    told = ["-:1: bad record: it has no field 'a'", "-:2: bad record: a JSON array, not an object"]
    assert done.stderr.splitlines() == told


def test_a_dry_run_of_a_call(run: Starter) -> None:
    """The function is not even imported twice: it is not imported at all."""
    done = run("run", "-i", "-", "--dry-run", "--call", "nosuch.module:f", stdin="it's\n")
    assert (done.process.returncode, done.stdout) == (0, 'nosuch.module:f("it\'s")\n')


def test_a_record_that_an_inner_shell_would_read_is_warned_of_or_refused(run: Starter) -> None:
    """A line of the log; with --strict a usage error, and nothing runs."""
    command = ("--", "sh", "-c", "echo {}")
    warned = run("run", "-i", "-", *command, stdin="a\n")
    assert "warning: {} is read as code by sh; {:q} quotes it" in warned.log
    assert warned.stdout == "a\n"
    refused = run("run", "-i", "-", "--strict", *command, stdin="a\n")
    assert (refused.process.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith(
        "pipeline: error: --strict: {} is read as code by sh; {:q} quotes it\n  hint: "
    )


def test_output_is_whole_per_job_and_kept_apart(run: Starter) -> None:
    """Jobs that write at the same time do not interleave; stderr stays on stderr."""
    script = "for i in 1 2 3; do echo out$1; echo err$1 >&2; done"
    program = run(
        "run",
        "-i",
        "-",
        "-j",
        "8",
        "--",
        "sh",
        "-c",
        script,
        "sh",
        stdin="".join(f"{n}\n" for n in range(40)),
    )

    assert program.process.returncode == 0
    out = program.stdout.splitlines()
    assert len(out) == 120
    assert all(out[at] == out[at + 1] == out[at + 2] for at in range(0, 120, 3))
    err = [line for line in program.stderr.splitlines() if line.startswith("err")]
    assert all(err[at] == err[at + 1] == err[at + 2] for at in range(0, 120, 3))


def test_a_command_that_runs_costs_one_open_file(tmp_path: Path) -> None:
    """Fifty at once under a limit of 128 descriptors; each held three once, and they could not be started."""
    (tmp_path / "in").write_text("".join(f"{number}\n" for number in range(100)))
    line = 'ulimit -n 128 && exec "$@" run -i in -j 50 --max-retries 0 -- sh -c "sleep 0.3; echo $1" sh'
    done = subprocess.run(
        ["sh", "-c", line, "sh", *PIPELINE], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_large_output_is_exact(run: Starter) -> None:
    """Megabytes of bytes pass through unchanged, and the folder that held them is gone."""
    script = "head -c 5000000 /dev/zero | tr '\\0' '\\377'"
    program = run("run", "-i", "-", "--", "sh", "-c", script, "sh", stdin="a\nb\n")

    assert program.process.returncode == 0
    assert (program.folder / "stdout").read_bytes() == b"\xff" * 10_000_000
    found = re.search(r" run (\S+), log ", program.log)
    assert found is not None
    assert [] == spool_folder.of_run(found[1])


def test_a_job_does_not_read_the_records(run: Starter) -> None:
    """A job's standard input is empty, so a command that reads it does not eat the rest of the input."""
    program = run("run", "-i", "-", "--", "sh", "-c", "cat; echo $1", "sh", stdin="a\nb\nc\n")

    assert sorted(program.stdout.splitlines()) == ["a", "b", "c"]


def test_a_job_inherits_no_descriptor_of_ours(tmp_path: Path) -> None:
    """A cron line's `flock 9` must not be held by what a job leaves running."""
    done = subprocess.run(
        [*PIPELINE, "run", "-i", "-", "--", "sh", "-c", "cd /dev/fd && echo *", "sh"],
        input=b"a\n",
        cwd=tmp_path,
        capture_output=True,
        pass_fds=(reader := os.pipe()[0],),
        check=True,
    )
    assert str(reader).encode() not in done.stdout.split()
    assert set(done.stdout.split()) <= {b"0", b"1", b"2", b"3"}  # 3: the shell's own look at the folder


def test_a_job_knows_its_place(run: Starter) -> None:
    """Id, attempt and run are in the environment of each attempt."""
    script = 'test "$PIPELINE_JOB_ATTEMPT" = 3 && echo "$PIPELINE_JOB_ID $PIPELINE_RUN_ID"'
    program = run("run", "-i", "-", "--", "sh", "-c", script, "sh", stdin="a\n")

    assert program.process.returncode == 0
    number, run_id = program.stdout.split()
    assert number == "1"
    assert f"run {run_id}, log" in program.log


@pytest.mark.parametrize("args", [("--", "echo", "{}"), ("--call", "builtins:str")])
def test_empty_input_is_a_success(run: Starter, args: tuple[str, ...]) -> None:
    """Nothing to do is done: exit 0."""
    program = run("run", "-i", "/dev/null", *args)

    assert program.process.returncode == 0
    assert program.stdout == ""


def test_a_python_call_per_line(start: Starter, tmp_path: Path) -> None:
    """The function gets text, what it raises is the job's failure, and its file is logged."""
    (tmp_path / "mytask.py").write_text(
        "import sys\n"
        "def work(record):\n"
        "    if record == 'exit': sys.exit(3)\n"
        "    if record == 'stop': raise KeyboardInterrupt\n"
        "    print(record.upper())\n"
    )
    program = start("run", "-i", "-", "--max-retries=0", "--call", "mytask:work", stdin="a\nexit\nstop\n")

    assert program.wait() == 1
    assert program.stdout == "A\n"
    assert f"calling mytask:work of {tmp_path}/mytask.py" in program.log
    assert "  job 2  -:2  exit  SystemExit: 3" in program.stderr
    assert "FAILED KeyboardInterrupt: 1 job\n  job 3  -:3  stop\n" in program.stderr


def test_a_user_folder_with_our_names(start: Starter, tmp_path: Path) -> None:
    """The user's own config.py, components and pipeline.py are theirs, not ours."""
    (tmp_path / "config.py").write_text("NAME = 'my config'\n")
    (tmp_path / "pipeline.py").write_text("NAME = 'my pipeline'\n")
    (tmp_path / "components").mkdir()
    (tmp_path / "components" / "__init__.py").write_text("NAME = 'my components'\n")
    (tmp_path / "task.py").write_text(
        "import components, config, pipeline\n"
        "def work(record):\n"
        "    print(config.NAME, components.NAME, pipeline.NAME, sep=', ')\n"
    )
    program = start("run", "-i", "-", "--call", "task:work", stdin="a\n")

    assert program.wait() == 0, program.stderr
    assert program.stdout == "my config, my components, my pipeline\n"


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("async def work(record): pass", "is an async function"),
        ("def work(record): yield", "is a generator function"),
    ],
)
def test_a_function_that_would_do_nothing_is_refused(
    start: Starter, tmp_path: Path, code: str, text: str
) -> None:
    """A coroutine or a generator "succeeds" without having run: told before the first job."""
    (tmp_path / "task.py").write_text(code + "\n")
    program = start("run", "-i", "/etc/hostname", "--call", "task:work")

    assert program.wait() == 2
    assert text in program.stderr


REFUSED = [
    (("run", "-i", "missing.txt", "--", "echo"), "-i missing.txt: No such file or directory"),
    (("run", "-i", ".", "--", "echo"), "-i .: is a directory"),
    (("run", "-i", "-"), "-i has records but there is nothing to do with them"),
    (("run", "-i", "-", "--call", "nomodule:f"), "cannot import nomodule: ModuleNotFoundError"),
    (("run", "-i", "-", "--call", "json:dumpz"), "has no dumpz"),
    (("run", "-i", "-", "--call", "json"), 'write it as "pkg.mod:func"'),
    (("run", "-i", "-", "--call", "os:environ"), "cannot be called"),
    (("run", "-i", "-", "--call", "os:getpid", "--", "echo"), "are two workloads"),
    (("run", "-i", "-", "--jobs", "3", "--", "echo"), "--jobs belongs to the simulated workload"),
    (("run", "--jobs", "1", "--time-scale", "nan"), "--time-scale"),
    (("run", "--jobs", "1", "--duration", "70"), "--duration"),
    (("run", "--max-workers", "lots"), "max_workers must be a whole number"),
    (("run", "--set", "pipeline.max_worker=3"), "did you mean pipeline.max_workers?"),
    (("run", "--grow-threshold", "500"), "queue_capacity"),
    (("run", "-j", "2", "--policy", "threshold"), "-j sets --policy itself"),
    (("run", "--no-such-option"), "No such option"),
    (("run", "--config", "missing.yml"), "missing.yml"),
]


@pytest.mark.parametrize(("args", "text"), REFUSED)
def test_mistakes_are_told_before_anything_is_created(run: Starter, args: tuple[str, ...], text: str) -> None:
    """Exit 2, what is wrong on stderr, no traceback, nothing on stdout, no log folder."""
    program = run(*args, COLUMNS="200")

    assert program.process.returncode == 2, program.stderr
    assert text in program.stderr
    assert "Traceback" not in program.stderr
    assert program.stdout == ""
    assert not (program.folder / "logs").exists()


@pytest.mark.parametrize("word", ["{nosuch}", "{2}"])
def test_a_placeholder_without_a_value_is_refused_before_any_job(run: Starter, word: str) -> None:
    """It is never empty and never left as it stands."""
    done = run("run", "-i", "-", "--", "touch", f"made-{word}", stdin="a\n")
    assert done.process.returncode == 2
    assert f"{word}: there is no such value" in done.stderr
    assert not list(done.folder.glob("made*"))


def test_a_pipe_never_falls_back_to_the_demo(run: Starter) -> None:
    """Records without a workload are a mistake, not a wish to see the simulation."""
    program = run("run", stdin="a\nb\n")

    assert program.process.returncode == 2
    assert "records come in on standard input but there is nothing to do with them" in program.stderr


def test_a_log_that_cannot_be_opened_is_exit_4(run: Starter) -> None:
    """The folder for the log is a file: one line, and no job runs."""
    options = ("--state-dir", "/dev/null/logs", "--durability", "off")
    program = run("run", "-i", "-", *options, "--", "touch", "{}", stdin="canary\n")

    assert program.process.returncode == 4
    assert "/dev/null/logs/pipeline.log: cannot be opened: Not a directory" in program.stderr
    assert not (program.folder / "canary").exists()


def test_a_reader_of_the_output_that_goes_away_is_141(tmp_path: Path) -> None:
    """`run … | head -1` stops and does not claim success: bytes are missing."""
    shell = 'seq 1000 | "$@" | head -n 1 >/dev/null; echo "${PIPESTATUS[1]}"'
    command = ["bash", "-c", shell, "bash", *PIPELINE, "run", "-i", "-", "--", "sh", "-c", "seq 3000", "sh"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)

    assert done.stdout == "141\n"
    assert "Traceback" not in done.stderr


def test_a_reader_of_prints_that_goes_away_is_141(tmp_path: Path) -> None:
    """The calls fail because nobody reads: that is no fault of each record, and the run stops."""
    (tmp_path / "task.py").write_text("def f(r):\n    print(r, 'x' * 9000, flush=True)\n")
    shell = 'seq 100000 | "$@" | head -n 1 >/dev/null; echo "${PIPESTATUS[1]}"'
    command = ["bash", "-c", shell, "bash", *PIPELINE, "run", "-i", "-", "--call", "task:f"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "141\n"
    assert "the input was not read to its end" in done.stderr


def test_a_pipe_of_the_job_itself_that_breaks_is_a_failure(run: Starter, tmp_path: Path) -> None:
    """Somebody reads stdout: the record is to blame."""
    (tmp_path / "task.py").write_text("def f(r):\n    raise BrokenPipeError\n")
    done = run("run", "-i", "-", "--max-retries", "0", "--call", "task:f", stdin="a\nb\n")
    assert done.process.returncode == 1
    assert "2 failed, 0 ok, 0 not run" in done.stderr


def test_a_reader_of_the_output_that_stalls_cannot_hold_a_stop(tmp_path: Path) -> None:
    """One signal and a drain timeout end it, and what was lost on the way is never a success."""
    (tmp_path / "in").write_text("1\n2\n3\n")
    command = ["run", "-i", "in", "--set", "shutdown.drain_timeout=0.1s", "--set", "shutdown.kill_grace=0.1s"]
    reader, writer = os.pipe()
    with subprocess.Popen(
        [*PIPELINE, *command, "--", "printf", "%090000d", "{}"],
        cwd=tmp_path,
        stdout=writer,
        stderr=subprocess.DEVNULL,
    ) as process:
        os.close(writer)
        wait_until(lambda: _waiting_bytes(reader) > 65536 - 100)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 4
    os.close(reader)


@pytest.mark.parametrize(
    "args", [("-i", "in", "--call", "builtins:print"), ("--jobs", "5", "--time-scale", "0")]
)
def test_signals_are_heard_before_the_first_and_after_the_last_job(
    tmp_path: Path, args: tuple[str, ...]
) -> None:
    """stdout is full from the start: prints that wait in a buffer, or the log, hold nobody for ever."""
    (tmp_path / "in").write_text("1\n2\n3\n")
    reader, writer = os.pipe()
    os.write(writer, b"x" * 65536)  # all that it holds
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    line = [*PIPELINE, "run", *args, "--set", "shutdown.kill_grace=0.1s"]
    with subprocess.Popen(line, cwd=tmp_path, stdout=writer, stderr=subprocess.DEVNULL, env=env) as process:
        os.close(writer)
        wait_until((tmp_path / "logs" / "pipeline.log").exists)

        def has_ended_after_another() -> bool:
            process.send_signal(signal.SIGINT)
            return process.poll() is not None

        wait_until(has_ended_after_another)
        assert process.returncode in {4, 130}
    os.close(reader)


def _waiting_bytes(pipe: int) -> int:
    (count,) = struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, b"\0" * 4))
    assert isinstance(count, int)
    return count


def test_a_full_disk_under_the_output_is_exit_4(tmp_path: Path) -> None:
    """Output that cannot be written is told, and is never 0."""
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*PIPELINE, "run", "-i", "/etc/passwd", "--", "echo", "{}"],
            cwd=tmp_path,
            stdout=full,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            timeout=60,
            check=False,
        )

    assert done.returncode == 4
    assert b"the jobs' output cannot be written to stdout: No space left on device" in done.stderr


def test_prints_that_nobody_takes_are_no_success(tmp_path: Path) -> None:
    """The last buffer of what a function printed is written at the end; if the reader has gone, 141."""
    (tmp_path / "task.py").write_text("def work(record):\n    print(record)\n")
    shell = 'printf "a\\nb\\n" | "$@" | true; echo "${PIPESTATUS[1]}"'
    command = ["bash", "-c", shell, "bash", *PIPELINE, "run", "-i", "-", "--call", "task:work"]
    env = {**os.environ, "PYTHONUNBUFFERED": ""}
    done = subprocess.run(
        command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=False
    )

    assert done.stdout == "141\n"
    assert "Traceback" not in done.stderr
    assert "BrokenPipeError" not in done.stderr


def test_a_full_disk_under_prints_is_no_success(tmp_path: Path) -> None:
    """A print that fails is its job's failure, like all that a function raises."""
    (tmp_path / "task.py").write_text("def work(record):\n    print(record, flush=True)\n")
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*PIPELINE, "run", "-i", "/etc/hostname", "--call", "task:work"],
            cwd=tmp_path,
            stdout=full,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            timeout=60,
            check=False,
        )

    assert done.returncode == 1
    assert b"No space left on device  (after 4 tries)" in done.stderr
    assert b"Traceback" not in done.stderr


def test_closed_standard_streams_do_no_harm(tmp_path: Path) -> None:
    """With 0, 1 and 2 closed no file of ours takes their place and receives the jobs' output."""
    shell = '"$@" <&- >&- 2>&-'
    command = ["bash", "-c", shell, "bash", *PIPELINE, "run", "-i", "/etc/hostname", "--", "echo", "{}"]
    done = subprocess.run(command, cwd=tmp_path, timeout=60, check=False)

    assert done.returncode == 0
    assert "graceful exit complete" in (tmp_path / "logs" / "pipeline.log").read_text()


def test_input_that_cannot_be_read_to_its_end_is_exit_4(run: Starter) -> None:
    """An error while reading is told and is neither a success nor a bug of ours."""
    program = run("run", "-i", "/proc/self/mem", "--", "echo", "{}")

    assert program.process.returncode == 4
    assert "/proc/self/mem: cannot be read to its end: Input/output error" in program.stderr


def test_an_inherited_ignore_of_sigchld_does_not_turn_failures_into_successes(start: Starter) -> None:
    """With SIGCHLD ignored by our parent the kernel would reap our children, and each exit code would read 0."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        program = start("run", "-i", "/etc/hostname", "--max-retries", "0", "--", "sh", "-c", "exit 5", "sh")
    finally:
        signal.signal(signal.SIGCHLD, before)

    assert program.wait() == 1
    assert "exit 5" in program.stderr


def test_children_survive_the_terminals_ctrl_c(start: Starter) -> None:
    """SIGINT to the whole foreground group: the command that runs finishes, and the run drains."""
    program = start(
        "run", "-i", "-", "--", "sh", "-c", "echo $$ >started; cat release; echo done $1", "sh", stdin="a\n"
    )
    os.mkfifo(program.folder / "release")
    wait_for_file(program.folder / "started")
    os.killpg(program.process.pid, signal.SIGINT)
    program.wait_for("beginning drain")
    with (program.folder / "release").open("w"):
        pass

    assert program.wait() == 0
    assert program.stdout == "done a\n"


def wait_for_file(path: Path) -> None:
    subprocess.run(["sh", "-c", f"until test -s '{path}'; do sleep 0.01; done"], timeout=30, check=True)


def test_the_second_signal_ends_commands_with_all_they_started(start: Starter) -> None:
    """A command that ignores TERM and its child are gone after the grace; the code is 130."""
    script = "trap '' TERM; sleep 1000 & echo $! >child; wait; wait; sleep 1000"
    program = start("run", "-i", "-", "--kill-grace", "200ms", "--", "sh", "-c", script, "sh", stdin="a\nb\n")
    wait_for_file(program.folder / "child")
    child = int((program.folder / "child").read_text())
    press_until_it_counts(program)

    assert program.wait() == 130
    assert "0 failed, 0 ok, 2 not run — exit 130" in program.stderr
    assert not Path(f"/proc/{child}").exists() or "Z" in Path(f"/proc/{child}/stat").read_text().split()[2]


def test_a_function_that_hangs_cannot_hold_a_forced_exit(start: Starter, tmp_path: Path) -> None:
    """The process leaves within the grace and a second although a thread never ends."""
    (tmp_path / "task.py").write_text(
        "import threading\ndef work(record):\n    open('started', 'w').write('x')\n    threading.Event().wait()\n"
    )
    program = start("run", "-i", "-", "--kill-grace", "100ms", "--call", "task:work", stdin="a\n")
    wait_for_file(tmp_path / "started")
    press_until_it_counts(program)

    assert program.wait() == 130
    assert "stopped with 1 jobs unfinished" in program.log_lines
    assert program.log_lines[-1] == "0 failed, 0 ok, 1 not run — exit 130"


def test_a_signal_while_waiting_for_records(start: Starter) -> None:
    """A source that waits for a pipe lets go at once; records may follow, so work is left: 130."""
    reader, writer = os.pipe()
    program = start("run", "-i", "-", "--", "echo", "{}", stdin=reader)
    os.close(reader)
    os.write(writer, b"a\n")
    program.wait_for("✓ job 1 ")
    program.signal()

    assert program.wait() == 130
    assert program.stdout == "a\n"
    os.close(writer)


def test_a_signal_after_the_last_record_costs_nothing(start: Starter) -> None:
    """All records were read and all jobs finish: exit 0 although a signal came."""
    program = start("run", "-i", "-", "--", "sh", "-c", "echo x >started$1; cat release$1", "sh", stdin="a\n")
    os.mkfifo(program.folder / "releasea")
    wait_for_file(program.folder / "starteda")
    program.signal()
    program.wait_for("beginning drain")
    with (program.folder / "releasea").open("w"):
        pass

    assert program.wait() == 0


def measure_million(tmp_path: Path, lines: int) -> tuple[int, float, list[int]]:
    """Run *lines* records into a no-op: exit code, seconds to the first job, resident KiB over time."""
    (tmp_path / "task.py").write_text(
        "import os, time\n"
        "seen = 0\n"
        "def work(record):\n"
        "    global seen\n"
        "    if not seen: open('first', 'w').write(str(time.time()))\n"
        "    seen += 1\n"
        f"    if not seen % {lines // 10}:\n"
        "        pages = int(open('/proc/self/statm').read().split()[1])\n"
        "        open('memory', 'a').write(f'{pages * os.sysconf(\"SC_PAGE_SIZE\") // 1024}\\n')\n"
    )
    import time  # noqa: PLC0415 - measured here only

    with (tmp_path / "err").open("wb") as err:
        began = time.time()
        done = subprocess.run(
            ["bash", "-c", f'seq {lines} | "$@"', "bash", *PIPELINE, "run", "-i", "-", "--call", "task:work"],
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=err,
            timeout=600,
            check=False,
        )
    first_s = float((tmp_path / "first").read_text()) - began
    return done.returncode, first_s, [int(line) for line in (tmp_path / "memory").read_text().split()]


def check_memory(tmp_path: Path, lines: int) -> None:
    code, _, memory = measure_million(tmp_path, lines)
    assert code == 0
    assert max(memory) < 150 * 1024
    assert max(memory) <= memory[0] * 1.1
    assert f"✓ job {lines} handled" in (tmp_path / "logs" / "pipeline.log").read_text()


def test_memory_is_flat(tmp_path: Path) -> None:
    """A hundred thousand lines stream through: flat memory, below 150 MB."""
    check_memory(tmp_path, 100_000)


@pytest.mark.soak
def test_memory_is_flat_at_a_million(tmp_path: Path) -> None:
    """The same with a million lines."""
    check_memory(tmp_path, 1_000_000)


def test_the_first_job_does_not_wait_for_the_end_of_input(start: Starter) -> None:
    """A job runs while the pipe that feeds the run is still open."""
    reader, writer = os.pipe()
    program = start("run", "-i", "-", "--", "echo", "{}", stdin=reader)
    os.close(reader)
    os.write(writer, b"first\n")
    program.wait_for("✓ job 1 ")
    os.close(writer)

    assert program.wait() == 0
    assert program.stdout == "first\n"


def test_with_nothing_installed_the_launcher_tells_the_set_up_line(tmp_path: Path) -> None:
    """A Python without our dependencies prints the line that sets it up, not a traceback."""
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], check=True)
    done = subprocess.run(
        [str(bare / "bin" / "python"), PIPELINE[1], "run"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert (
        "python3 -m venv .venv && .venv/bin/pip install -q -e . && .venv/bin/python pipeline.py run"
        in done.stderr
    )
    assert "Traceback" not in done.stderr
