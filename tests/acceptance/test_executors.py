"""What a user changes is one option: the same run on threads, on processes and on a cluster."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import PIPELINE, Program, Starter
from tests.dask_cluster import real_cluster
from tests.doubles import PATIENCE_S

ENGINES = {
    "threads": (),
    "processes": ("--executor", "processes"),
    "dask": ("--executor", "dask", "--dask", "CLUSTER"),
}
TASK = """\
import pathlib, sqlite3, threading
from dynamic_pipeline import PermanentError, current_job

def mixed(record):
    number = int(record)
    if number % 5 == 0:
        raise PermanentError("no fives")
    if number % 3 == 0 and current_job().attempt < 3:
        raise ConnectionError(f"not at attempt {current_job().attempt}")
    if number % 7 == 0:
        raise SystemExit(number)
    return {"twice": 2 * number}

def look(record):
    journal = sqlite3.connect(f"file:{FOLDER}/logs/journal.db?mode=ro", uri=True, timeout=30)
    job, attempt = current_job().id, current_job().attempt
    rows = journal.execute(
        "SELECT outcome FROM attempts WHERE job % (1 << 40) = ? AND number = ?", (job, attempt)
    ).fetchall()
    journal.close()
    return rows

FOLDER = pathlib.Path(__file__).parent
"""


@pytest.fixture(scope="module", autouse=True)
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real one, with two workers."""
    with real_cluster(tmp_path_factory.mktemp("cluster")) as made:
        yield made.address


@pytest.fixture(params=ENGINES)
def options(request: pytest.FixtureRequest, cluster: str) -> list[str]:
    """What a user adds to the command line."""
    return [cluster if word == "CLUSTER" else word for word in ENGINES[request.param]]


@pytest.fixture
def task(tmp_path: Path) -> str:
    """A module of the user's; its name differs, since the workers of a cluster keep what they have loaded."""
    name = f"task_{zlib.crc32(str(tmp_path).encode()):x}"
    (tmp_path / f"{name}.py").write_text(TASK)
    return name


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The one in which the program runs."""
    (tmp_path / "records.txt").write_text("".join(f"{number}\n" for number in range(1, 25)))
    return tmp_path


def test_the_same_run_ends_the_same_way_wherever_calls_are_made(
    run: Callable[..., Program], folder: Path, task: str, options: list[str]
) -> None:
    """Failures, retries, results, reports and the exit code are those that the function makes."""
    files = ("--results", "results.jsonl", "--joblog", "joblog.tsv", "--summary-json", "summary.json")

    program = run("run", "-i", "records.txt", *options, *files, "--call", f"{task}:mixed")

    def state(number: int) -> tuple[str, int, str | None]:
        """As the function is written: state, number of attempts, the last error."""
        if number % 5 == 0:
            return "failed", 1, "PermanentError: no fives"
        if number % 7 == 0:
            return "failed", 4, f"SystemExit: {number}"
        return "succeeded", 3 if number % 3 == 0 else 1, None

    assert program.process.returncode == 1
    lines = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    told = {int(line["record"]): (line["state"], len(line["attempts"]), line["error"]) for line in lines}
    assert told == {number: state(number) for number in range(1, 25)}
    values = {int(line["record"]): line["value"] for line in lines if line["state"] == "succeeded"}
    assert values == {n: {"twice": 2 * n} for n in range(1, 25) if state(n)[0] == "succeeded"}
    summary = json.loads((folder / "summary.json").read_text())
    assert {"accepted": 24, "failed": 7, "unfinished": 0}.items() <= summary.items()
    assert 25 == len((folder / "joblog.tsv").read_text().splitlines())
    assert program.stderr.splitlines()[-1] == "7 failed, 17 ok, 0 not run — exit 1"


def test_a_start_is_in_the_journal_before_the_call_can_look(
    run: Callable[..., Program], folder: Path, task: str, options: list[str]
) -> None:
    """Each call finds its own attempt there, open, wherever it runs."""
    program = run("run", "-i", "records.txt", *options, "--results", "out.jsonl", "--call", f"{task}:look")

    assert program.process.returncode == 0, program.stderr
    values = [json.loads(line)["value"] for line in (folder / "out.jsonl").read_text().splitlines()]
    assert values == [[[None]]] * 24


def test_an_end_is_in_the_journal_before_it_is_shown(folder: Path, task: str, options: list[str]) -> None:
    """Whoever reads a result finds its job done in the journal at that moment."""
    command = [*PIPELINE, "run", "-i", "records.txt", *options, "--results", "-", "--call", f"{task}:look"]
    states: list[Any] = []
    with subprocess.Popen(
        command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as program:
        assert program.stdout is not None
        for line in program.stdout:
            with sqlite3.connect(f"file:{folder}/logs/journal.db?mode=ro", uri=True) as journal:
                job = json.loads(line)["job"]
                states += journal.execute("SELECT state FROM jobs WHERE job % (1 << 40) = ?", (job,))
            journal.close()
        assert program.wait(PATIENCE_S) == 0
    assert states == [("S",)] * 24


@pytest.mark.parametrize("first", ENGINES)
def test_a_stopped_run_goes_on_on_another_executor(
    start: Starter, folder: Path, task: str, cluster: str, first: str
) -> None:
    """A drain leaves the rest to `--resume`, and where the work is done is no part of what the work is."""
    order = list(ENGINES)
    second = order[(order.index(first) + 1) % len(order)]
    line = ("run", "-i", "records.txt", "--halt", "soon,fail=1", "-j", "1", "--call", f"{task}:mixed")

    def options_of(name: str) -> list[str]:
        return [cluster if word == "CLUSTER" else word for word in ENGINES[name]]

    halted = start(*line, *options_of(first))
    assert halted.wait() == 3, halted.stderr

    rest = [word for word in line if word not in {"--halt", "soon,fail=1"}]
    resumed = subprocess.run(
        [sys.executable, PIPELINE[1], *rest, *options_of(second), "--resume"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )

    assert resumed.returncode == 1, resumed.stderr
    assert resumed.stderr.splitlines()[-1] == "7 failed, 17 ok, 0 not run — exit 1"


def test_a_worker_that_has_loaded_another_module_of_that_name_is_refused(
    start: Starter, folder: Path, cluster: str
) -> None:
    """One edited since, or one from another folder: its calls would be those of the old text."""
    on_cluster = ("--executor", "dask", "--dask", cluster)
    line = ("run", "-i", str(folder / "records.txt"), "-q", *on_cluster, "--call", "same_name:work")
    first, second = start(*line), start("--version")  # the second is there for its folder
    (first.folder / "same_name.py").write_text("import helper_of_it\ndef work(record):\n    return 1\n")
    (first.folder / "helper_of_it.py").write_text("VALUE = 1\n")
    first.wait()
    second.wait()

    def again(where: Path) -> tuple[int, str]:
        command = [*PIPELINE, *line]
        done = subprocess.run(
            command, cwd=where, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stderr.partition("\n")[0]

    code, _ = again(first.folder)
    assert code == 0
    (first.folder / "helper_of_it.py").write_text("VALUE = 2\n")
    code, told = again(first.folder)
    assert code == 2
    assert told.endswith("has loaded another version of helper_of_it")
    (second.folder / "same_name.py").write_text("def work(record):\n    return 2\n")
    code, told = again(second.folder)
    assert code == 2
    assert "another same_name, " in told
    assert told.endswith(f"was loaded there before {second.folder}/same_name.py")
