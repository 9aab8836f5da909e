"""The README's first two commands, as a newcomer runs them: a clean clone, an empty home, a bare Python."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.conftest import ROOT
from tests.acceptance.test_readme import blocks

RUN, TEST = next(block.commands for block in blocks() if block.kind == "setup")
INNER_TESTS = (
    "tests/unit tests/contracts tests/test_house.py"  # of the clone; acceptance would start itself again
)


def find_python(version: str) -> str | None:
    """The path of python3.X: on PATH, or where pyenv keeps it."""
    code = "import sys; print(sys.executable)"
    pyenv = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python3"))
    for candidate in (f"python{version}", *map(str, pyenv)):
        try:
            return subprocess.run(
                [candidate, "-c", code], capture_output=True, text=True, check=True
            ).stdout.strip()
        except (OSError, subprocess.CalledProcessError):
            continue
    return None


@pytest.mark.soak
@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_both_commands_work_in_a_clean_clone(tmp_path: Path, version: str) -> None:
    """The first sets up and runs until Ctrl+C, the second runs the tests; nothing but Python is there before."""
    python = find_python(version)
    if python is None:
        pytest.skip(f"python{version} is not on this machine")
    (tmp_path / "home").mkdir()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3").symlink_to(python)
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
    env = {
        **{
            name: value
            for name, value in os.environ.items()
            if name.startswith(("PIP_", "UV_", "SSL_", "LANG"))
        },
        "HOME": str(tmp_path / "home"),
        "PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin",
    }

    with subprocess.Popen(
        ["bash", "-c", RUN], cwd=clone, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
        start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "✓ job 1 " in line:
                os.killpg(process.pid, signal.SIGINT)
    assert "graceful exit complete" in lines[-1]
    assert process.returncode in (0, 1)  # 1: about one job in ten thousand fails for good

    subprocess.run(
        ["bash", "-c", f"{TEST} {INNER_TESTS}"],
        cwd=clone,
        env=env,
        stdin=subprocess.DEVNULL,
        check=True,
        timeout=600,
    )


@pytest.mark.soak
def test_an_installed_wheel_needs_no_checkout(tmp_path: Path) -> None:
    """`pip install .` brings two packages and a command that runs from any folder."""
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    subprocess.run([str(venv / "bin" / "pip"), "install", "-q", str(ROOT)], check=True)
    command = [str(venv / "bin" / "dynamic-pipeline"), "run", "-i", "/etc/hostname", "--", "echo", "{}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, stdin=subprocess.DEVNULL, check=True)

    assert done.stdout == Path("/etc/hostname").read_bytes()
    installed = {path.name for path in (venv / "lib").glob("*/site-packages/*")}
    assert {"dynamic_pipeline", "pipeline_config"} < installed
    assert not installed & {"config", "components", "pipeline.py", "tests"}
