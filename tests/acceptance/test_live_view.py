"""The live view in a real terminal: a pty, and an emulator that shows what a person would see."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyte
import pytest

from tests.acceptance.conftest import PATIENCE_S, PIPELINE

_HINT = "Ctrl+C: finish"
_DRAWN = b"\x1b[?2026l"  # ends what is drawn at once
_SLOW = "import time\ndef work(record):\n    time.sleep(0.05)\n"


class Terminal:
    """The program behind a terminal of *columns* x *rows*; `bytes` is all that it wrote."""

    def __init__(self, folder: Path, argv: list[str], columns: int, rows: int, env: dict[str, str]) -> None:
        self._screen = pyte.HistoryScreen(columns, rows, history=20_000)
        self._stream = pyte.ByteStream(self._screen)
        self.bytes = self._unread = b""
        ours, theirs = pty.openpty()
        fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.modes = termios.tcgetattr(theirs)  # before the program
        self.pid = os.fork()
        if not self.pid:  # becomes the leader of a session with that terminal, as a shell's job is
            os.close(ours)
            os.setsid()
            fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)
            for fd in (0, 1, 2):
                os.dup2(theirs, fd)
            os.chdir(folder)
            os.execve(argv[0], argv, env)
        self.fd, self._theirs = ours, theirs
        self.code: int | None = None

    def read(self, is_there: Callable[[list[str]], bool] | None = None) -> bool:
        """Take what there is, up to a complete view on which *is_there*; whether there was one."""
        if not self._unread and select.select([self.fd], [], [], 0.05)[0]:
            self._unread = os.read(self.fd, 1 << 16)
            self.bytes += self._unread
        while self._unread:
            piece, end, self._unread = self._unread.partition(_DRAWN)
            self._stream.feed(piece + end)
            if end and is_there is not None and is_there(self.lines):
                return True
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
        return False

    @property
    def lines(self) -> list[str]:
        """What is on the screen."""
        return [line.rstrip() for line in self._screen.display]

    @property
    def all_lines(self) -> list[str]:
        """The same, with what has scrolled away."""
        rows = self._screen.history.top
        above = ["".join(row[at].data for at in range(self._screen.columns)).rstrip() for row in rows]
        return [*above, *self.lines]

    def until(self, is_there: Callable[[list[str]], bool]) -> list[str]:
        """The screen, as soon as a view is drawn on which *is_there*."""
        deadline = time.monotonic() + PATIENCE_S
        while not self.read(is_there):
            assert self.code is None, f"it has ended with {self.code}:\n" + "\n".join(self.lines)
            assert time.monotonic() < deadline, "\n".join(self.lines)
        return self.lines

    def end(self) -> int:
        deadline = time.monotonic() + PATIENCE_S
        while self.code is None:
            self.read()
            assert time.monotonic() < deadline, "\n".join(self.lines)
        while select.select([self.fd], [], [], 0)[0] or self._unread:
            self.read()
        return self.code

    def press(self, key: bytes) -> None:
        os.write(self.fd, key)

    def close(self) -> None:
        if self.code is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)
        os.close(self._theirs)


@contextmanager
def terminal(
    folder: Path,
    *args: str,
    columns: int = 80,
    rows: int = 24,
    env: dict[str, str] | None = None,
    behind: str = "",
) -> Iterator[Terminal]:
    """Around the program in a terminal, without what would turn the view off."""
    without = {"CI", "NO_COLOR", "GITHUB_ACTIONS", "FORCE_COLOR"}
    environ = {name: value for name, value in os.environ.items() if name not in without}
    environ |= {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8", **(env or {})}
    argv = [*PIPELINE, *args]
    if behind:
        argv = ["/bin/sh", "-c", f'"$@" {behind}', "sh", *argv]
    program = Terminal(folder, argv, columns, rows, environ)
    try:
        yield program
    finally:
        program.close()


@pytest.fixture
def slow(tmp_path: Path) -> tuple[str, ...]:
    """A run of two hundred calls that take ten seconds of work."""
    (tmp_path / "slowly.py").write_text(_SLOW)
    (tmp_path / "in").write_text("".join(f"record {number}\n" for number in range(200)))
    return ("run", "-i", "in", "-j", "4", "--call", "slowly:work")


def has_view(lines: list[str]) -> bool:
    return any(_HINT in line for line in lines) and any("/200" in line for line in lines)


def test_lines_scroll_above_a_view_that_stays(slow: tuple[str, ...], tmp_path: Path) -> None:
    """Each log line whole and once, the view below all of them and once; nothing of it is left at the end."""
    with terminal(tmp_path, *slow) as program:
        program.until(lambda lines: has_view(lines) and any("✓ job 30 " in line for line in lines))
        lines = program.until(has_view)
        assert 0 == program.end()
        everything = program.all_lines

    assert 1 == sum(line.startswith("run 2") for line in lines)
    below = lines[next(at for at, line in enumerate(lines) if line.startswith("run 2")) :]
    assert not any("handled by" in line for line in below)
    assert "workers   4            ●●●●" in lines
    done = [
        match[1]
        for line in everything
        if (match := re.fullmatch(r"\S+ \S+ ✓ job (\d+) handled by worker \d+", line))
    ]
    assert sorted(map(str, range(1, 201))) == sorted(done)
    assert not any(_HINT in line for line in everything)
    assert any(line.endswith("0 failed, 200 ok, 0 not run — exit 0") for line in everything)


def test_ctrl_c_is_shown_in_the_view(slow: tuple[str, ...], tmp_path: Path) -> None:
    """And the terminal is as it was."""
    with terminal(tmp_path, *slow) as program:
        program.until(lambda lines: has_view(lines) and any(re.search(r"ok \d\d", line) for line in lines))
        program.press(b"\x03")  # ten are done, so all have been accepted, and they take two more seconds
        code = program.end()
        shown = program.bytes.decode("utf-8", "replace")  # the ^C of the terminal itself may stand anywhere
        modes = termios.tcgetattr(program.fd)

        assert code in (0, 130)  # whether all of the input had been read
        assert "Ctrl+C again to stop now" in shown
        assert "\x1b[?25l" not in shown
        assert program.modes == modes
        assert not any(_HINT in line or "again to stop" in line for line in program.all_lines)


def test_whatever_ends_it_the_terminal_is_as_it_was(slow: tuple[str, ...], tmp_path: Path) -> None:
    """A kill cannot be answered: so no mode is changed, and the cursor is never hidden."""
    with terminal(tmp_path, *slow) as program:
        program.until(has_view)
        os.kill(program.pid, signal.SIGKILL)
        assert -signal.SIGKILL == program.end()

        assert program.modes == termios.tcgetattr(program.fd)
        assert b"\x1b[?25l" not in program.bytes


def test_outputs_and_prints_stay_whole(tmp_path: Path) -> None:
    """Of commands, with and without a newline at their end; of calls, whose prints come in parts."""
    (tmp_path / "in").write_text("".join(f"{number}\n" for number in range(40)))
    (tmp_path / "talk.py").write_text(
        "import time\ndef work(r):\n    time.sleep(0.02)\n    print('said', r, 'end')\n"
    )
    script = 'sleep 0.02; printf "out %s." "$1"; echo "err $1" >&2'
    with terminal(tmp_path, "run", "-i", "in", "-j", "4", "--", "sh", "-c", script, "sh") as program:
        assert 0 == program.end()
        outputs = program.all_lines
    with terminal(tmp_path, "run", "-i", "in", "-j", "4", "--call", "talk:work") as program:
        assert 0 == program.end()
        prints = program.all_lines

    for number in range(40):
        assert f"out {number}.err {number}" in outputs
        assert f"said {number} end" in prints


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (40, 10), (20, 4), (200, 60)])
def test_it_fits_its_terminal(slow: tuple[str, ...], tmp_path: Path, columns: int, rows: int) -> None:
    """Down to one where hardly anything fits."""
    with terminal(tmp_path, *slow, columns=columns, rows=rows) as program:
        program.until(lambda lines: any("Ctrl+C" in line for line in lines))
        assert 0 == program.end()
        assert not any("Ctrl+C: f" in line for line in program.lines)


@pytest.mark.parametrize(
    ("options", "env"),
    [
        ((), {"TERM": "dumb"}),
        ((), {"CI": "true"}),
        (("-q",), {}),
        (("--log-format", "json"), {}),
        (("--set", "log.view=plain"), {}),
    ],
)
def test_where_nobody_looks_there_is_no_escape_code(
    slow: tuple[str, ...], tmp_path: Path, options: tuple[str, ...], env: dict[str, str]
) -> None:
    """A dumb terminal, a CI job, whoever asked for quiet, for JSON or for lines."""
    (tmp_path / "in").write_text("a\nb\n")
    with terminal(tmp_path, *slow, *options, env=env) as program:
        assert 0 == program.end()

    assert b"\x1b" not in program.bytes


def test_without_colours_there_are_none(slow: tuple[str, ...], tmp_path: Path) -> None:
    """NO_COLOR: the cursor moves, and that is all."""
    with terminal(tmp_path, *slow, env={"NO_COLOR": "1"}) as program:
        program.until(has_view)
        assert 0 == program.end()

    assert not re.search(rb"\x1b\[[0-9;]*3[0-9]", program.bytes)


def test_a_pipe_has_no_view(slow: tuple[str, ...], tmp_path: Path) -> None:
    """What reads it may be a pager on the same terminal."""
    (tmp_path / "in").write_text("a\nb\n")
    with terminal(tmp_path, *slow, behind="| cat") as program:
        assert 0 == program.end()

    assert b"\x1b" not in program.bytes
    assert b"0 failed, 2 ok" in program.bytes
