"""`report`, as its users run it: after a run, beside one, after a kill, for an older one, and where there is none."""

from __future__ import annotations

import html
import re
import shlex
import signal
import subprocess
from pathlib import Path

import pytest

from tests.acceptance.conftest import PIPELINE
from tests.acceptance.test_history import WAITING, as_json, going, pipeline, run, told
from tests.unit.test_journal_versions import fixture
from tests.unit.test_report_page import text_of


def report(folder: Path, *args: str) -> str:
    """The text of the page, which is where the command says."""
    (name,) = told(folder, "report", *args)
    return text_of((folder / name).read_text())


def test_the_page_of_the_latest_run_stands_beside_its_journal(tmp_path: Path) -> None:
    """With what failed, its output as text, and the command that runs just that again."""
    (tmp_path / "in").write_text("good\n<b>bad</b>\n")
    script = 'test "$1" = good || { echo "no $1" >&2; exit 3; }'
    assert 1 == run(tmp_path, script=script)
    (name,) = told(tmp_path, "report")
    written = Path(name).read_text()
    text = text_of(written)

    (status,) = as_json(tmp_path, "status", "--json")
    assert f"{tmp_path}/logs/report-{status['run']}.html" == name
    assert not list((tmp_path / "logs").glob(".report*"))
    assert "✗ 1 job failed for good, the others were done" in text
    assert "1 ✓ ok 1 ✗ failed" in text
    assert "no &lt;b&gt;bad&lt;/b&gt;" in written
    assert "<b>bad" not in written
    assert "pipeline.max_retries 0 command line --max-retries" in text
    # The command is what it says it is.
    (again,) = re.findall(r'<pre class="command">(.*?)</pre>', written)
    command = html.unescape(again)
    done = subprocess.run(["bash", "-c", command], cwd="/", capture_output=True, timeout=60, check=False)
    assert 1 == done.returncode, done.stderr
    (newest, _) = as_json(tmp_path, "runs", "--json")
    assert ("retry-failed", 1, 0) == (newest["mode"], newest["failed"], newest["succeeded"])
    assert "pipeline.py" in shlex.split(command)[4]


def test_what_failed_of_a_pipe_is_run_again_from_its_file(tmp_path: Path) -> None:
    """A command that works from any folder."""
    script = 'test -e "$0" || test "$1" = a'
    given = ["run", "-i", "-", "-q", "--max-retries", "0", "--", "sh", "-c", script, "mended"]
    assert 1 == pipeline(tmp_path, *given, stdin=b"a\nb\n").returncode
    (name,) = told(tmp_path, "report")
    (again,) = re.findall(r'<pre class="command">(.*?)</pre>', Path(name).read_text())
    (tmp_path / "mended").touch()
    done = subprocess.run(
        ["bash", "-c", html.unescape(again)], cwd="/", capture_output=True, timeout=60, check=False
    )

    assert 0 == done.returncode, done.stderr
    assert 1 == as_json(tmp_path, "status", "--json")[0]["succeeded"]


def test_an_earlier_run_has_its_own_page(tmp_path: Path) -> None:
    """Its failures stay its own when a later run has mended them."""
    (tmp_path / "in").write_text("a\nb\n")
    script = 'test -e mended || test "$1" = a'
    assert 1 == run(tmp_path, script=script)
    (first,) = as_json(tmp_path, "runs", "--json")
    (tmp_path / "mended").touch()
    assert 0 == run(tmp_path, "--retry-failed", script=script)
    latest, earlier = (
        report(tmp_path, "-o", "latest.html"),
        report(tmp_path, first["run"], "-o", "first.html"),
    )

    assert "✓ Everything was done Run" in latest
    assert "1 ✓ ok 0 ✗ failed" in latest
    assert "✗ 1 job failed for good" in earlier
    assert "exit 1: 1 job" in earlier
    assert f"{first['run']} ◀ this one" in earlier


def test_beside_a_run_the_page_tells_how_far_it_is(tmp_path: Path) -> None:
    """And nothing of the run is held up."""
    with going(tmp_path) as process:
        text = report(tmp_path)
    assert 0 == process.returncode

    assert "… Running, nothing failed so far" in text
    assert "0 ✓ ok 0 ✗ failed 0 ↻ ok after a retry 3 … to be done" in text


def test_a_killed_run_has_a_page_before_and_after_it_is_put_in_order(tmp_path: Path) -> None:
    """What was cut short is told; when it ended is the last that it wrote down."""
    with going(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        before = report(tmp_path)
        (killed,) = as_json(tmp_path, "runs", "--json")
        (tmp_path / "go").touch()
        assert 0 == run(tmp_path, "--resume", script=WAITING)
    after = report(tmp_path, killed["run"])

    for text in (before, after):
        assert "✗ Killed before its end; 3 not run; --resume goes on" in text
        assert "last sign of life" in text
        assert "exit code none" in text


def test_a_link_is_followed_and_what_stood_there_is_replaced(tmp_path: Path) -> None:
    """As with the other reports."""
    (tmp_path / "in").write_text("a\n")
    assert 0 == run(tmp_path, script=":")
    (tmp_path / "old.html").write_text("old")
    (tmp_path / "link.html").symlink_to("old.html")
    assert ["link.html"] == told(tmp_path, "report", "-o", "link.html")

    assert (tmp_path / "link.html").is_symlink()
    assert "Everything was done" in (tmp_path / "old.html").read_text()


@pytest.mark.parametrize("version", [1, 2])
def test_a_journal_of_an_older_format_is_read_as_it_is(tmp_path: Path, version: int) -> None:
    """And not changed by it."""
    (tmp_path / "logs").mkdir()
    journal = tmp_path / "logs" / "journal.db"
    journal.write_bytes(fixture(version).read_bytes())
    journal.chmod(0o600)

    assert "Killed before its end" in report(tmp_path)
    assert fixture(version).read_bytes() == journal.read_bytes()


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        ((), 4, "there is no journal"),
        (("--state-dir", "made", "nobody"), 2, "the journal has no run nobody; `runs` lists them"),
        (("--state-dir", "made", "a\nb\x1b[31m"), 2, "the journal has no run a\\nb\\x1b[31m"),
        (("--state-dir", "made", "-o", "-"), 2, "--output needs the name of a file"),
        (("--state-dir", "made", "-o", ""), 2, "--output needs the name of a file"),
        (("--state-dir", "made", "-o", "nowhere/r.html"), 4, "--output nowhere/r.html cannot be written"),
        (("--state-dir", "made", "-o", "made"), 4, "it is no file that could be replaced"),
        (("--state-dir", "made", "-o", "/dev/null"), 4, "it is no file that could be replaced"),
    ],
)
def test_mistakes_are_told_in_one_line(tmp_path: Path, args: tuple[str, ...], code: int, said: str) -> None:
    """And leave nothing behind."""
    (tmp_path / "in").write_text("a\n")
    assert 0 == run(tmp_path, "--state-dir", "made", script=":")
    before = sorted(tmp_path.iterdir())
    done = pipeline(tmp_path, "report", *args)
    message, *more = done.stderr.decode().splitlines()

    assert (code, b"") == (done.returncode, done.stdout)
    assert message.startswith("pipeline: error: ")
    assert said in message
    assert all(line.startswith("  hint: ") for line in more)
    assert before == sorted(tmp_path.iterdir())


def test_records_and_outputs_of_all_scripts_are_shown(tmp_path: Path) -> None:
    """What reads from right to left stands in a box of its own, what turns the direction is an escape."""
    (tmp_path / "in").write_bytes("日本語\nשלום\nabc\u202edef\n".encode() + b"\xff\n")
    assert 1 == run(tmp_path, script='printf "%s\\033[31m\\342\\200\\256\\n" "$1"; exit 1')
    text = report(tmp_path)

    for shown in ("日本語", "שלום", "abc\\u202edef", "\\xff", "\\x1b[31m\\u202e"):
        assert shown in text
    assert "\u202e" not in text


def test_help_needs_neither_jinja_nor_sqlite() -> None:
    """`--help` stays quick."""
    code = "import sys; sys.argv = ['p', 'report', '--help']\nfrom dynamic_pipeline.cli import main\ntry: main()\nexcept SystemExit: pass\n"
    code += "print([name for name in ('jinja2', 'sqlite3') if name in sys.modules])"
    done = subprocess.run([PIPELINE[0], "-c", code], capture_output=True, text=True, timeout=60, check=True)

    assert "[]" == done.stdout.splitlines()[-1]
