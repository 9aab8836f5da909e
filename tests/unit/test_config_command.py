"""`config show`, `config check` and `config schema` from the outside."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from dynamic_pipeline.cli.config import app
from pipeline_config import json_schema
from typer.testing import CliRunner

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command in an empty folder without variables of ours."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PIPELINE_JOB_ID", "17")
    Path("site.yml").write_text("pipeline:\n  max_workers: 5\n", encoding="utf-8")
    Path("bad.yml").write_text("pipeline:\n  max_workers: eight\n", encoding="utf-8")

    def invoke(*arguments: str) -> tuple[int, str, str]:
        result = CliRunner().invoke(app, arguments)
        return result.exit_code, result.stdout, result.stderr

    return invoke


def test_show_prints_a_configuration_file(run: Run) -> None:
    """The settings in force come out as YAML, with durations as people write them."""
    code, out, err = run("show", "--config", "site.yml", "--set", "shutdown.drain_timeout=90s")

    assert (0, "") == (code, err)
    assert out.startswith("pipeline:\n  min_workers: 2\n  max_workers: 5\n")
    assert "\nshutdown:\n  drain: all\n  drain_timeout: 1m30s\n  kill_grace: 2s\n" in out


def test_show_origin_says_where_each_value_comes_from(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line a key, the sources aligned behind the values."""
    monkeypatch.setenv("PIPELINE_LOG_FORMAT", "json")

    code, out, _ = run("show", "--config", "site.yml", "--origin", "--set", "load.profile=demo")

    assert 0 == code
    assert "pipeline.max_workers: 5          # site.yml:2:16\n" in out
    assert "log.format: json                 # environment PIPELINE_LOG_FORMAT\n" in out
    assert "load.profile: demo               # command line --set\n" in out
    assert "pipeline.min_workers: 2          # embedded default\n" in out


def test_check_says_ok_for_a_good_file(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file alone is judged, not the environment it is checked in."""
    monkeypatch.setenv("PIPELINE_NONSENSE", "1")

    assert (0, "site.yml: ok\n", "") == run("check", "site.yml")


@pytest.mark.parametrize("arguments", [("check", "bad.yml"), ("show", "--config", "bad.yml")])
def test_mistakes_go_to_stderr_with_exit_code_2(run: Run, arguments: tuple[str, ...]) -> None:
    """Nothing is printed to stdout, and stderr has the problem with its place."""
    code, out, err = run(*arguments)

    assert (2, "") == (code, out)
    assert err.startswith('bad.yml:2:16: error: pipeline.max_workers must be a whole number, got "eight"\n')


def test_schema_prints_the_schema(run: Run) -> None:
    """What is printed is JSON, and the schema of configuration files."""
    code, out, _ = run("schema")

    assert 0 == code
    assert json_schema() == json.loads(out)


def test_config_creates_nothing(run: Run) -> None:
    """Looking at the configuration leaves the folder as it was."""
    run("show")
    run("check", "site.yml")

    assert ["bad.yml", "site.yml"] == sorted(path.name for path in Path().iterdir())
