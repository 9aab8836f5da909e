"""Which reports are made, and how a run is offered again."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import pytest
from dynamic_pipeline.cli.report_files import ReportFiles, check_reports
from dynamic_pipeline.cli.request import Request
from dynamic_pipeline.errors import OutputError, UsageError
from dynamic_pipeline.stats import Stats

from tests.ended import describe, failed, job


def offer(request: Request, tmp_path: Path) -> list[str]:
    """What is told of one record that has failed."""
    reports = ReportFiles(request, "RUN", str(tmp_path))
    reports.describe = describe
    reports.records_are("lines", {})
    reports.open()
    for sink in reports.sinks:
        sink.emit([failed("exit 1", job(1))], Stats())
        sink.close()
    reports.discard()
    return [line.replace(str(tmp_path), "logs") for line in reports.again()]


@pytest.mark.parametrize(
    ("argv", "orig_argv", "shown"),
    [
        (["pipeline.py"], ["python3", "pipeline.py"], "python3 pipeline.py"),
        (["../my pipeline.py"], [".venv/bin/python", "x"], ".venv/bin/python '../my pipeline.py'"),
        (["{bin}/dynamic-pipeline"], ["/usr/bin/python3", "x"], "dynamic-pipeline"),
        (["other/bin/dynamic-pipeline"], ["/usr/bin/python3", "x"], "other/bin/dynamic-pipeline"),
    ],
)
def test_the_program_is_named_as_it_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, argv: list[str], orig_argv: list[str], shown: str
) -> None:
    """A script by its path with its Python, a program on the path of commands by its name."""
    program = tmp_path / "bin" / "dynamic-pipeline"
    program.parent.mkdir()
    program.touch(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    monkeypatch.setattr(sys, "argv", [argv[0].format(bin=program.parent)])
    monkeypatch.setattr(sys, "orig_argv", orig_argv)
    request = Request(command=("false",), again=("-j", "2", "--", "echo", "a b"))

    assert [f"run them again: {shown} run -i logs/failed-RUN.txt -j 2 -- echo 'a b'"] == offer(
        request, tmp_path
    )


def test_a_control_character_of_the_command_does_not_break_the_line(tmp_path: Path) -> None:
    """It is written in quotes that bash reads back."""
    request = Request(command=("x",), again=("--", "sh", "-c", "a\nb"))
    (line,) = offer(request, tmp_path)

    assert line.endswith(r" -- sh -c $'a\012b'")


def test_a_simulation_has_nothing_to_run_again(tmp_path: Path) -> None:
    """Its jobs have no records."""
    reports = ReportFiles(Request(), "RUN", str(tmp_path))
    reports.open()

    assert ([], []) == (reports.sinks, reports.again())


def test_nothing_is_left_of_reports_if_one_cannot_be_opened(tmp_path: Path) -> None:
    """Those that were opened before it are given up."""
    request = Request(junit=str(tmp_path / "no" / "x"), summary_json=str(tmp_path / "end.json"))
    reports = ReportFiles(request, "RUN", str(tmp_path))
    reports.describe = describe
    with pytest.raises(OutputError):
        reports.open()

    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["x", "+x"])
def test_a_report_is_no_other_report(tmp_path: Path, name: str) -> None:
    """By whatever names the file is called."""
    (tmp_path / "link").symlink_to(tmp_path / "x")
    request = Request(joblog=str(tmp_path / "link"), results=name.replace("x", f"{tmp_path}/x"))
    with pytest.raises(UsageError) as caught:
        check_reports(request)

    assert "--joblog and --results name the same file" == str(caught.value)


@pytest.mark.parametrize("option", ["results", "junit", "summary_json"])
def test_a_start_that_is_refused_leaves_no_row_of_a_job_log(tmp_path: Path, option: str) -> None:
    """Not even the header, for which the corrected command would be refused."""
    request = Request(joblog=str(tmp_path / "jobs.tsv"))
    setting: dict[str, Any] = {option: str(tmp_path / "no" / "x")}
    reports = ReportFiles(dataclasses.replace(request, **setting), "RUN", str(tmp_path))
    reports.describe = describe
    with pytest.raises(OutputError):
        reports.open()

    assert [] == [path.name for path in tmp_path.iterdir() if path.stat().st_size]
    assert [] == reports.sinks
    check_reports(request)
