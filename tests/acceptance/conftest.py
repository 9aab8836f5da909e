"""The program as its users run it: a process, real signals, a folder of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PIPELINE = [sys.executable, str(ROOT / "pipeline.py")]
PATIENCE_S = 30.0  # only turns a hang into a failure
_STAMP = re.compile(r"^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d\.\d{6} ", re.MULTILINE)


class Program:
    """One start of the program. Its output is collected in files, so that it never blocks on us."""

    def __init__(self, folder: Path, args: tuple[str, ...], env: dict[str, str], stdin: int | None) -> None:
        self.folder = folder
        self._out = (folder / "stdout").open("wb+")
        self._err = (folder / "stderr").open("wb+")
        self.process = subprocess.Popen(
            [*PIPELINE, *args],
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL if stdin is None else stdin,
            stdout=self._out,
            stderr=self._err,
            start_new_session=True,
        )

    @property
    def stdout(self) -> str:
        return (self.folder / "stdout").read_text(errors="surrogateescape")

    @property
    def stderr(self) -> str:
        return (self.folder / "stderr").read_text(errors="surrogateescape")

    @property
    def log(self) -> str:
        return (self.folder / "logs" / "pipeline.log").read_text()

    @property
    def log_lines(self) -> list[str]:
        """The log file without time stamps."""
        return _STAMP.sub("", self.log).splitlines()

    def wait_for(self, text: str) -> None:
        """Block until the log file holds *text*."""
        path = self.folder / "logs" / "pipeline.log"
        with subprocess.Popen(
            ["sh", "-c", f"until grep -qsF -- \"$1\" '{path}'; do sleep 0.01; done", "sh", text]
        ) as waiting:
            try:
                waiting.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                waiting.kill()
                pytest.fail(f"the log never said {text!r}; stderr: {self.stderr[-2000:]}")

    def signal(self, signum: signal.Signals = signal.SIGINT) -> None:
        self.process.send_signal(signum)

    def wait(self) -> int:
        """The exit code; a program that does not end is a failure."""
        try:
            return self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGABRT)
            self.process.wait()
            pytest.fail(f"it did not end; stderr: {self.stderr[-2000:]}")

    def close(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self._out.close()
        self._err.close()


Starter = Callable[..., Program]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Starter]:
    """Starts the program with some arguments, in a folder of its own."""
    started: list[Program] = []

    def start_one(*args: str, stdin: int | str | bytes | None = None, **env: str) -> Program:
        folder = tmp_path / f"run{len(started)}" if started else tmp_path
        folder.mkdir(exist_ok=True)
        fd: int | None
        if isinstance(stdin, str | bytes):
            (folder / "stdin").write_bytes(stdin.encode() if isinstance(stdin, str) else stdin)
            cat = subprocess.Popen(["cat", str(folder / "stdin")], stdout=subprocess.PIPE)
            assert cat.stdout is not None
            fd = os.dup(cat.stdout.fileno())
            cat.stdout.close()
        else:
            fd, cat = stdin, None
        program = Program(folder, args, {**os.environ, **env}, fd)
        if cat is not None and fd is not None:
            os.close(fd)
            cat.wait()
        started.append(program)
        return program

    yield start_one
    for program in started:
        program.close()


@pytest.fixture
def run(start: Starter) -> Callable[..., Program]:
    """Runs the program to its end; `.process.returncode` is the exit code."""

    def run_one(*args: str, **more: str) -> Program:
        program = start(*args, **more)
        program.wait()
        return program

    return run_one
