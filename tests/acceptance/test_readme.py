"""The README: every command in it is run, and what it shows is what comes out."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from pipeline_config import config_keys

from tests.acceptance.conftest import ROOT

README = (ROOT / "README.md").read_text()
SETUP_IN_CI = ("python3 -m venv", "uv run")


class Block(NamedTuple):
    """One fenced console block: its commands, and what it shows after the last."""

    kind: str
    commands: list[str]
    shown: list[str]


def blocks() -> Iterator[Block]:
    for info, body in re.findall(r"^```console ?(.*?)\n(.*?)^```", README, re.MULTILINE | re.DOTALL):
        lines = body.splitlines()
        yield Block(
            info,
            [line[2:] for line in lines if line.startswith("$ ")],
            [line for line in lines if line[:2] != "$ "],
        )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which `python` and `pipeline.py` are what the README says."""
    made: Path = tmp_path_factory.mktemp("readme")
    (made / "bin").mkdir()
    (made / "bin" / "python").symlink_to(sys.executable)
    (made / "pipeline.py").symlink_to(ROOT / "pipeline.py")
    return made


def shell(command: str, folder: Path) -> subprocess.Popen[str]:
    python = f"exec -a {sys.executable} {sys.executable}"
    return subprocess.Popen(
        ["bash", "-c", f'python() {{ ({python} "$@"); }}; set -o pipefail; {command}'],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
        start_new_session=True,
    )


@pytest.mark.parametrize(
    "block",
    [b for b in blocks() if b.kind == "" or b.kind.startswith("exit=")],
    ids=lambda b: b.commands[-1][:60],
)
def test_a_shown_command_runs(block: Block, folder: Path) -> None:
    """Each ends with the exit code that the block promises, and prints the lines that it shows."""
    (folder / "records.txt").write_text("a\nb\n")
    (folder / "mytask.py").write_text("def shout(record):\n    print(record.upper())\n")
    (folder / "site.yml").write_text("pipeline:\n  max_workers: 4\n")
    for command in block.commands:
        process = shell(command, folder)
        output, _ = process.communicate(timeout=60)
        is_last = command == block.commands[-1]
        code = int(block.kind.removeprefix("exit=") or 0) if is_last else 0
        assert process.returncode == code, output
        assert "Traceback" not in output
    told = [as_shown(line) for line in output.splitlines()]
    shown = [as_shown(line) for line in block.shown]
    assert sorted(line for line in shown if line in told) == sorted(shown)


def test_the_cluster_is_started_as_shown(folder: Path) -> None:
    """A scheduler, a worker, and a run on them, from three terminals; the port is one that is free."""
    (block,) = (b for b in blocks() if b.kind == "cluster")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    scheduler, worker, run = (command.replace("8786", port) for command in block.commands)
    dask = f'dask() {{ exec {sys.executable} -m dask "$@"; }};'
    (folder / "records.txt").write_text("a\nb\n")
    started = [shell(f"{dask} {command}", folder) for command in (scheduler, worker)]
    try:
        last = shell(run, folder)
        output, _ = last.communicate(timeout=60)
    finally:
        for process in started:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()

    assert last.returncode == 0, output
    assert {"a", "b", "0 failed, 2 ok, 0 not run — exit 0"} <= set(output.splitlines())


def as_shown(line: str) -> str:
    """*line* without what differs from run to run: the time it took, the run's name, the path of Python."""
    line = re.sub(r" ok in [0-9.]+s, ", " ok in 0.0s, ", line)
    line = re.sub(r"failed-[0-9]{8}-[0-9]{6}-[0-9a-f]{4}\.", "failed-RUN.", line)
    return line.replace(f"{sys.executable} pipeline.py", "python pipeline.py")


def test_the_first_command_can_be_watched_and_stopped(folder: Path) -> None:
    """The demo starts, Ctrl+C drains it, and the kinds of lines that the README shows come out."""
    (block,) = (b for b in blocks() if b.kind == "endless")
    lines = []
    with subprocess.Popen(
        [sys.executable, *block.commands[0].split()[1:]],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line.rstrip())
            if "(total 4)" in line:
                process.send_signal(signal.SIGINT)
    assert process.returncode == (1 if any("permanently failed" in line for line in lines) else 0)

    def shape(line: str) -> str:
        return re.sub(r"\d+", "N", line[27:])

    shown = {shape(line) for line in block.shown if re.match(r"\d{4}/", line) and "removed" not in line}
    assert shown - {shape(line) for line in lines} == set()


def test_set_up_commands_are_those_that_ci_runs() -> None:
    """The gate takes its test command from the README, and the launcher prints the README's first line."""
    commands = [command for block in blocks() if block.kind == "setup" for command in block.commands]

    assert all(command.startswith(SETUP_IN_CI) for command in commands)
    assert commands[0] in (ROOT / "pipeline.py").read_text()
    assert "grep -m1 -oE" in (ROOT / ".ci" / "run").read_text()
    assert "test_setup.py" in (ROOT / "noxfile.py").read_text()


def test_the_python_examples_run(folder: Path) -> None:
    """Each block is a program that works as it stands; the one with a `run` says how it went."""
    outputs = []
    for code in re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL):
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=60, check=True
        )
        outputs.append(done.stdout.splitlines()[-1:])

    assert outputs == [[], ["2 0"], ["2"], ["3"]]


def config_table() -> str:
    """The table of keys, from the models and config.yml."""
    rows = ["| key | default | meaning |", "| --- | --- | --- |"]
    rows += [f"| `{key.key}` | `{key.default}` | {key.description} |" for key in config_keys()]
    return "\n".join(rows)


def test_the_table_of_keys_is_current() -> None:
    """Generated text: `python -m tests.acceptance.test_readme` writes it anew."""
    assert config_table() in README


if __name__ == "__main__":
    start, end = "test_readme.py -->\n", "\n<!-- end of config table"
    head, tail = README[: README.index(start) + len(start)], README[README.index(end) :]
    (ROOT / "README.md").write_text(head + config_table() + tail)
