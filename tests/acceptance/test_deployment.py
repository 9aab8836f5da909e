"""What the README has to be pasted elsewhere: cron, systemd, GitHub Actions, Kubernetes; each as far as it can be tried here."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.acceptance.conftest import ROOT

README = (ROOT / "README.md").read_text()
SNIPPETS = {
    match[2]: match[0]
    for match in re.finditer(
        r"(?<=```)(?:ini|yaml)\n(# (\S+)\n.*?)(?=^```)", README, re.MULTILINE | re.DOTALL
    )
}


def text(name: str) -> str:
    return SNIPPETS[name].split("\n", 1)[1]


@pytest.fixture
def batch(tmp_path: Path) -> Path:
    """The folder that the snippets speak of: an environment, the input, the command."""
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    program = tmp_path / ".venv" / "bin" / "dynamic-pipeline"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {ROOT / "pipeline.py"} "$@"\n')
    program.chmod(0o755)
    (tmp_path / "urls.txt").write_text("a\nb\n")
    (tmp_path / "fetch").write_text('#!/bin/sh\necho "$1" >> fetched\ntest "$1" != bad\n')
    (tmp_path / "fetch").chmod(0o755)
    return tmp_path


def test_cron_says_nothing_unless_something_failed(batch: Path) -> None:
    """The line as cron runs it: with sh, and hardly any environment."""
    match = re.search(r"^0 2 \* \* \*  (.*)$", README, re.MULTILINE)
    assert match is not None
    assert "%" not in match[1]  # which is a newline there
    line = match[1].replace("/srv/batch", str(batch))
    bare = {"PATH": "/usr/bin:/bin", "HOME": str(batch), "SHELL": "/bin/sh", "LOGNAME": "batch"}

    def cron() -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(["/bin/sh", "-c", line], env=bare, capture_output=True, check=False, timeout=60)

    good = cron()
    (batch / "urls.txt").write_text("a\nbad\n")
    bad = cron()

    assert (0, b"", b"") == (good.returncode, good.stdout, good.stderr)
    assert 1 == bad.returncode
    assert b"FAILED exit 1: 1 job" in bad.stderr


def test_the_command_of_the_service_runs(batch: Path) -> None:
    """In its folder, with the words that systemd makes of it."""
    (command,) = re.findall(r"^ExecStart=(.*)$", text("/etc/systemd/system/batch.service"), re.MULTILINE)
    words = shlex.split(command.replace("/srv/batch", str(batch)))
    for _ in range(2):  # the second night too
        done = subprocess.run(words, cwd=batch, capture_output=True, check=False, timeout=60)
        assert 0 == done.returncode, done.stderr

    assert "a\nb\n" == "".join(sorted((batch / "fetched").read_text().splitlines(keepends=True)))
    assert (batch / "batch.prom").exists()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
def test_systemd_finds_nothing_wrong(batch: Path) -> None:
    """Unit and timer, with the folder that they speak of."""
    for name in ("batch.service", "batch.timer"):
        (batch / name).write_text(text(f"/etc/systemd/system/{name}").replace("/srv/batch", str(batch)))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(batch / "batch.service"), str(batch / "batch.timer")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{batch}:"},
    )

    assert not [line for line in done.stderr.splitlines() if "batch." in line]


def test_github_runs_the_commands_that_are_there(batch: Path) -> None:
    """Whatever a step runs of ours runs here, in its shell."""
    workflow: dict[Any, Any] = yaml.safe_load(text(".github/workflows/batch.yml"))
    commands = [step["run"] for step in workflow["jobs"]["batch"]["steps"] if "run" in step]
    ours = [command for command in commands if command.startswith("dynamic-pipeline ")]
    path = f"{batch / '.venv' / 'bin'}:{os.environ['PATH']}"
    for command in ours:
        done = subprocess.run(
            ["bash", "-e", "-c", command],
            cwd=batch,
            env={**os.environ, "PATH": path},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=60,
        )
        assert 0 == done.returncode, done.stderr

    assert 2 == len(ours)
    assert {"junit.xml", "report.html"} <= {entry.name for entry in batch.iterdir()}


def test_kubernetes_drains_and_does_not_repeat_a_mistake(batch: Path) -> None:
    """The job's fields go together, and its words are a command that runs."""
    job = yaml.safe_load(text("batch.yaml"))
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    words = [word.replace("/state", str(batch / "state")) for word in container["args"]]
    done = subprocess.run(
        [str(batch / ".venv" / "bin" / words[0]), *words[1:]],
        cwd=batch,
        capture_output=True,
        check=False,
        timeout=60,
    )

    assert ("batch/v1", "Job", "Never") == (job["apiVersion"], job["kind"], pod["restartPolicy"])
    (rule,) = job["spec"]["podFailurePolicy"]["rules"]
    assert ("FailJob", [2], container["name"]) == (
        rule["action"],
        rule["onExitCodes"]["values"],
        rule["onExitCodes"]["containerName"],
    )
    assert {volume["name"] for volume in pod["volumes"]} == {
        mount["name"] for mount in container["volumeMounts"]
    }
    assert 0 == done.returncode, done.stderr
