"""`run -c` and `run --lines`: shell commands, with values that are never read as code."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.acceptance.conftest import Starter

HOSTILE = b"$(touch canary)\n`touch canary`\n; touch canary\n' \" \\ *\n-n\n\xff\xfe\n\xe2\x80\xa8x\n"


@pytest.mark.parametrize(
    "text", ["printf '%s\\n' {}", "printf '%s\\n' '{}'", 'x="{}"; printf \'%s\\n\' "$x"']
)
def test_a_value_passes_a_shell_as_it_is(run: Starter, text: str) -> None:
    """In whatever quotes it stands, with bytes that are no UTF-8."""
    done = run("run", "-i", "-", "-k", "-c", text, stdin=HOSTILE)

    assert done.process.returncode == 0, done.stderr
    assert HOSTILE == (done.folder / "stdout").read_bytes()
    assert not (done.folder / "canary").exists()


@pytest.mark.parametrize(
    ("text", "value"),
    [("echo '{}'", "x; echo INJECTED"), ('echo "{}"', "$(echo INJECTED)"), ('echo "{}"', "a b$HOME")],
)
def test_where_gnu_parallel_runs_the_value(run: Starter, text: str, value: str) -> None:
    """Its measured traps print the value here, and the dry run prints a command that does so too."""
    done = run("run", "-i", "-", "-c", text, stdin=value)
    dry = run("run", "-i", "-", "--dry-run", "--command", text, stdin=value)

    assert (0, value + "\n") == (done.process.returncode, done.stdout)
    assert value + "\n" == subprocess.check_output(["bash", "-c", dry.stdout], text=True)


def test_shell_syntax_per_record(run: Starter) -> None:
    """Pipes, redirections, the number of the job; without a placeholder the record comes last."""
    done = run("run", "-i", "-", "-k", "-c", "echo {} | tr a-z A-Z | tee out{#}", stdin="a\nb\n")

    assert (0, "A\nB\n") == (done.process.returncode, done.stdout)
    assert "B\n" == (done.folder / "out2").read_text()
    assert "x a\n" == run("run", "-i", "-", "-c", "true && echo x", stdin="a\n").stdout


def test_lines_are_commands(run: Starter) -> None:
    """As GNU parallel takes them: each is a job of its own, and one that fails is told."""
    lines = "echo a {} | tr a-z A-Z\nexit 3\n"
    done = run("run", "-i", "-", "--lines", "--max-retries", "0", stdin=lines)
    dry = run("run", "-i", "-", "--lines", "--dry-run", stdin=lines)

    assert (1, "A {}\n") == (done.process.returncode, done.stdout)
    assert "1 failed, 1 ok, 0 not run — exit 1" == done.stderr.splitlines()[-1]
    assert (0, lines) == (dry.process.returncode, dry.stdout)


def test_fields_in_a_shell_command(run: Starter, tmp_path: Path) -> None:
    """By name; what the file lacks is refused, and what an object lacks fails that job."""
    (tmp_path / "todo.csv").write_text("id,name\n1,$(touch canary)\n")
    assert run("run", "-i", str(tmp_path / "todo.csv"), "-c", "echo '{id}' \"{name}\"").stdout == (
        "1 $(touch canary)\n"
    )
    done = run(
        "run", "-i", "-", "--format", "jsonl", "-c", "echo {a}", stdin='{"a":"x y"}\n{"b":1}\n{"a":1e999}\n'
    )
    assert (1, "x y\n") == (done.process.returncode, done.stdout)
    assert "bad record: it has no field 'a'" in done.stderr
    assert "bad record: not JSON: 1e999 is beyond the range of numbers" in done.stderr


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("-c", "echo {nosuch}"), "{nosuch}: there is no such value (a line has no fields)"),
        (("-c", "echo `ls {}`"), "{} at column 10 stands inside backticks, where no quoting is safe"),
        (("-c", "{} x"), "{} at column 1 stands where the name of a command belongs"),
        (("-c", "echo '{}"), "the command ends within the ' at column 6"),
        (("-c", ""), "the shell command is empty"),
        (("--strict", "-c", "sh -c 'ls {}'"), "--strict: {} is read as code by sh; {:q} quotes it"),
        (("-c", "ls", "--lines"), "-c and --lines are two workloads"),
        (("-c", "ls", "--call", "os:stat"), "-c and --call are two workloads"),
        (("--lines", "--", "ls"), "a command and --lines are two workloads"),
        (("--lines", "--format", "csv"), "--lines runs each line, and --format csv makes other records"),
        (("--lines", "-i", "todo.csv"), "--lines runs each line, and -i todo.csv is csv"),
        (("--lines", "--strict"), "--strict is about a {} in a command, and --lines has none"),
        (("--call", "os:stat", "--strict"), "--strict is about a {} in a command, and --call has none"),
        (("--", "echo {} | wc"), "echo {} | wc: there is no such program; -- starts one without a shell"),
    ],
)
def test_what_cannot_be_done_is_refused(
    run: Starter, tmp_path: Path, args: tuple[str, ...], told: str
) -> None:
    """One line and a way out, exit 2, and nothing was run or made."""
    inputs = () if "-i" in args else ("-i", "lines.txt")
    (tmp_path / "todo.csv").write_text("a,b\n1,2\n")
    (tmp_path / "lines.txt").write_text("touch canary\n")
    done = run("run", *inputs, *args)

    assert (2, "") == (done.process.returncode, done.stdout)
    assert told in done.stderr.splitlines()[0]
    assert {"lines.txt", "todo.csv", "stdout", "stderr"} == {path.name for path in tmp_path.iterdir()}


def test_columns_that_the_table_lacks_are_refused(run: Starter) -> None:
    """Never an empty text: think of `rm -rf /{5}`."""
    done = run("run", "-i", "-", "--format", "csv", "-c", "echo /{5}", stdin="a,b\n1,2\n")

    assert 2 == done.process.returncode
    assert "{5}: there is no such value (columns: 1 to 2)" in done.stderr


def test_a_risk_is_told_before_the_commands(run: Starter) -> None:
    """On stderr: the dry run's stdout is commands and nothing else."""
    done = run("run", "-i", "-", "--dry-run", "-c", "sh -c 'ls {}'", stdin="a b\n")

    assert "sh -c 'ls a b'\n" == done.stdout
    assert "warning: {} is read as code by sh; {:q} quotes it\n" == done.stderr


def test_a_name_with_blanks_can_be_started(run: Starter, tmp_path: Path) -> None:
    """Only what is no program is taken for a shell command."""
    program = tmp_path / "my tool"
    program.write_text("#!/bin/sh\necho tool $1\n")
    program.chmod(0o755)

    assert "tool a\n" == run("run", "-i", "-", "--", str(program), stdin="a\n").stdout
