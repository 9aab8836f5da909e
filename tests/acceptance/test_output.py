"""How the jobs' output is shown: in order, with tags, in files, only of failures; and that no byte is lost."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.conftest import PATIENCE_S, PIPELINE, Starter
from tests.acceptance.test_simulation import press_until_it_counts

SHOWN = [("-k",), ("--tag",), ("-k", "--tag")]  # what is written to stdout by code of its own
# Waits for the last record with the first one: all others have ended before it.
FIRST_WAITS = 'if test "$1" = 1; then read x <gate; fi; {}; if test "$1" = "$2"; then echo >gate; fi'


def lines(count: int) -> str:
    return "".join(f"{number}\n" for number in range(1, count + 1))


def shell(line: str, folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """Run the bash script *line*, in which `"$@"` is the pipeline with *args*."""
    command = ["bash", "-c", line, "bash", *PIPELINE, "run", *args]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=2 * PATIENCE_S, check=False
    )


def test_in_order_whatever_waits_holds_no_open_file(tmp_path: Path) -> None:
    """499 outputs of 2 KB wait for a slow first job under a limit of 64 open files: all come, in order."""
    (tmp_path / "in").write_text(lines(500))
    os.mkfifo(tmp_path / "gate")
    job = FIRST_WAITS.format('printf "%02000d\\n" "$1"')
    args = ("-i", "in", "-k", "-j", "4", "--max-retries", "0", "--", "sh", "-c", job, "sh", "{}", "500")
    done = shell('ulimit -n 64 && exec "$@"', tmp_path, *args)

    assert 0 == done.returncode, done.stderr[-2000:]
    assert list(range(1, 501)) == [int(line) for line in done.stdout.splitlines()]


def test_in_order_the_last_attempt_stands_at_its_place(run: Starter) -> None:
    """Every third job needs three attempts; those behind it wait, and only its last one is seen."""
    job = 'test $(($1 % 3)) != 0 && echo "$1" || { echo "$1 $PIPELINE_JOB_ATTEMPT"; test "$PIPELINE_JOB_ATTEMPT" = 3; }'
    program = run("run", "-i", "-", "-k", "-j", "4", "--", "sh", "-c", job, "sh", stdin=lines(30))

    assert 0 == program.process.returncode, program.stderr
    assert [f"{n} 3" if n % 3 == 0 else f"{n}" for n in range(1, 31)] == program.stdout.splitlines()


def test_in_order_a_forced_stop_shows_what_has_ended(start: Starter) -> None:
    """The first job is cut short: what it wrote comes first, then the others, and it holds nobody."""
    job = 'echo "$1"; if test "$1" = 1; then exec sleep 1000; fi'
    program = start(
        "run",
        "-i",
        "-",
        "-k",
        "-j",
        "2",
        "--",
        "sh",
        "-c",
        job,
        "sh",
        stdin=lines(20),
    )
    program.wait_for("✓ job 20 ")
    assert "" == program.stdout
    program.signal()
    program.wait_for("beginning drain")
    press_until_it_counts(program)

    assert 128 + signal.SIGINT == program.wait()
    assert lines(20) == program.stdout


def test_in_order_large_outputs_cost_no_memory(tmp_path: Path) -> None:
    """160 MB in four jobs at once, of which three wait for the first: well below what they wrote."""
    (tmp_path / "in").write_text(lines(4))
    os.mkfifo(tmp_path / "gate")
    job = FIRST_WAITS.format("head -c 40000000 /dev/zero")
    # Measured by a small process in between: ours would lend its own size to what it starts.
    measure = (
        "import resource, subprocess, sys\n"
        "code = subprocess.call(sys.argv[1:])\n"
        "print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)\n"
    )
    args = ("-i", "in", "-k", "-j", "4", "--tag", "--", "sh", "-c", job, "sh", "{}", "4")
    line = f"{sys.executable} -c '{measure}' \"$@\" | wc -c"
    done = shell(line, tmp_path, *args)

    code, peak = (int(word) for word in done.stderr.splitlines()[-1].split())
    assert (0, 4 * (40_000_000 + 2)) == (code, int(done.stdout))
    assert peak // (1024 if sys.platform == "darwin" else 1) < 100 * 1024


def test_tags_name_the_record_before_each_line(run: Starter) -> None:
    """On stdout and on stderr; a TAB in a record cannot be taken for the one that ends the tag."""
    job = 'printf "1\\n\\n2"; echo e >&2'
    program = run("run", "-i", "-", "-j", "1", "--tag", "--", "sh", "-c", job, "sh", "{}", stdin="a\tb\n")

    assert 0 == program.process.returncode
    assert "a\\tb\t1\na\\tb\t\na\\tb\t2" == program.stdout
    assert "a\\tb\te" in program.stderr.splitlines()


def test_a_folder_keeps_outputs(run: Starter) -> None:
    """Of each job's last attempt, failed ones too; nothing on stdout, nothing else in the folder."""
    job = 'echo "$1 $PIPELINE_JOB_ATTEMPT"; if test "$1" = b; then echo oh >&2; exit 3; fi'
    program = run(
        "run",
        "-i",
        "-",
        "--output",
        "to/out",
        "--max-retries",
        "1",
        "--",
        "sh",
        "-c",
        job,
        "sh",
        stdin="a\nb\n",
    )

    assert (1, "") == (program.process.returncode, program.stdout)
    kept = {path.name: path.read_text() for path in (program.folder / "to" / "out").iterdir()}
    assert {"1.out": "a 1\n", "2.out": "b 2\n", "2.err": "oh\n"} == kept


def test_a_folder_with_outputs_is_never_mixed(run: Starter, tmp_path: Path) -> None:
    """Exit 2 before the first job; nothing is changed, nothing made."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "7.err").write_text("old")
    program = run("run", "-i", "-", "--output", "out", "--", "touch", "{}", stdin="canary\n")

    assert 2 == program.process.returncode
    assert program.stderr.startswith(
        "pipeline: error: --output out: it holds outputs already, such as 7.err\n"
    )
    assert ["out", "stderr", "stdin", "stdout"] == sorted(os.listdir(tmp_path))  # noqa: PTH208 - names
    assert ["7.err"] == os.listdir(tmp_path / "out")  # noqa: PTH208 - same


def test_quiet_shows_failures_only(run: Starter) -> None:
    """Their output, warnings and the end; the log file has all the rest."""
    job = 'echo "$1"; test "$1" != b'
    program = run(
        "run", "-i", "-", "-q", "--max-retries", "0", "--", "sh", "-c", job, "sh", stdin="a\nb\nc\n"
    )

    assert (1, "b\n") == (program.process.returncode, program.stdout)
    assert "✓ job 1 " in program.log
    assert not [line for line in program.stderr.splitlines() if "✓" in line or "running" in line]
    assert "permanently failed" in program.stderr
    assert "1 failed, 2 ok, 0 not run — exit 1" == program.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    "args", [("-i", "in", "--call", "builtins:print"), ("--jobs", "2", "--time-scale", "0")]
)
def test_quiet_is_for_every_workload(run: Starter, tmp_path: Path, args: tuple[str, ...]) -> None:
    """Calls and the simulation have a log as well; what calls print is theirs."""
    (tmp_path / "in").write_text("a\n")
    program = run("run", "-q", "--failure-rate", "0", *args) if "--jobs" in args else run("run", "-q", *args)

    assert 0 == program.process.returncode
    assert ("a\n" if "--call" in args else "") == program.stdout
    assert "pipeline running" not in program.stderr
    assert "pipeline running" in program.log


@pytest.mark.parametrize("how", [*SHOWN, ("-q",)], ids=" ".join)
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_is_exit_4_however_it_is_shown(tmp_path: Path, how: tuple[str, ...]) -> None:
    """Never 0 with bytes missing, and the reason is told."""
    (tmp_path / "in").write_text(lines(20))
    job = ("sh", "-c", 'echo "$1"; exit 1', "sh") if how == ("-q",) else ("echo", "{}")
    done = shell('"$@" >/dev/full', tmp_path, "-i", "in", "--max-retries", "0", *how, "--", *job)

    assert 4 == done.returncode
    assert "the jobs' output cannot be written to stdout: No space left on device" in done.stderr


@pytest.mark.parametrize("how", SHOWN, ids=" ".join)
def test_a_reader_that_goes_away_is_141_however_it_is_shown(tmp_path: Path, how: tuple[str, ...]) -> None:
    """`| head` has seen enough: the run stops, and does not claim success."""
    (tmp_path / "in").write_text(lines(1000))
    line = '"$@" | head -n 1; echo "${PIPESTATUS[0]}"'
    done = shell(line, tmp_path, "-i", "in", *how, "--", "seq", "1", "9{}000")

    first = "1" if "--tag" not in how else done.stdout[: done.stdout.index("\t")] + "\t1"
    assert f"{first}\n141\n" == done.stdout
    assert "Traceback" not in done.stderr


def test_a_file_that_cannot_be_kept_is_exit_4(run: Starter) -> None:
    """Something has taken its name since the start: it is left alone, and the run says what it could not do."""
    job = "echo theirs >out/2.out; echo ours"
    program = run("run", "-i", "-", "-j", "1", "--output", "out", "--", "sh", "-c", job, "sh", stdin=lines(3))

    assert 4 == program.process.returncode
    assert "the jobs' output cannot be kept at out/2.out: File exists" in program.stderr
    assert "theirs\n" == (program.folder / "out" / "2.out").read_text()


def test_outputs_that_do_not_fit_are_no_success(tmp_path: Path) -> None:
    """The disk takes no more of a job: the job fails, what is there is kept, and the code is not 0."""
    (tmp_path / "in").write_text("1000\n9000000\n")
    args = ("-i", "in", "--output", "out", "--max-retries", "0", "--", "head", "-c", "{}", "/dev/zero")
    done = shell('ulimit -f 1000 && exec "$@"', tmp_path, *args)

    assert 1 == done.returncode
    assert "killed by signal" in done.stderr
    assert 1000 == (tmp_path / "out" / "1.out").stat().st_size


def on_a_small_disk(folder: Path, first: str, *args: str) -> subprocess.CompletedProcess[str]:
    """Run with *args* where `out`, also for temporary files, is a disk of 256 KiB; *first* is done before."""
    if shutil.which("unshare") is None or subprocess.call(
        ["unshare", "-rm", "true"], stderr=subprocess.DEVNULL
    ):
        pytest.skip("no disk of one's own can be mounted")
    (folder / "out").mkdir()
    inside = f'mount -t tmpfs -o size=256k none out && {first} && TMPDIR=$PWD/out exec "$@"'
    return shell(f"unshare -rm sh -c '{inside}' sh \"$@\"", folder, *args)


@pytest.mark.parametrize("how", [("--output", "out/kept"), (), ("-k", "--tag")], ids=" ".join)
def test_a_full_disk_under_the_commands_is_exit_4(tmp_path: Path, how: tuple[str, ...]) -> None:
    """A command that does not notice it ends with 0, with bytes missing: the run does not."""
    (tmp_path / "in").write_text(lines(3))
    job = "head -c 300000 /dev/zero 2>/dev/null || true"
    done = on_a_small_disk(tmp_path, "true", "-i", "in", "-j", "1", *how, "--", "sh", "-c", job, "sh")

    assert 4 == done.returncode, done.stderr
    assert "No space left on device" in done.stderr


def test_a_full_disk_costs_nothing_where_nothing_was_written(tmp_path: Path) -> None:
    """No record, no output that could be cut."""
    fill = "{ head -c 300000 /dev/zero >out/full 2>/dev/null || true; }"
    done = on_a_small_disk(tmp_path, fill, "-i", "/dev/null", "--output", "out/kept", "--", "echo")

    assert 0 == done.returncode, done.stderr


def test_what_has_no_effect_on_calls_is_refused(run: Starter) -> None:
    """One line, exit 2."""
    program = run("run", "-i", "-", "--tag", "--call", "builtins:print", stdin="a\n")

    text = "pipeline: error: --tag is for commands: what a Python call prints goes straight to stdout\n"
    assert (2, text) == (program.process.returncode, program.stderr)
