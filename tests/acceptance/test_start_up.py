"""What starting costs: counted in modules, not in seconds (the seconds are in `nox -s bench`)."""

from __future__ import annotations

import subprocess

from tests.acceptance.conftest import PIPELINE

HEAVY = {"pydantic", "rich", "jinja2", "sqlite3", "distributed", "dask", "yaml", "loguru", "durationpy"}


def imported(*args: str) -> set[str]:
    """All modules that the program has imported by its end."""
    done = subprocess.run(
        [PIPELINE[0], "-X", "importtime", PIPELINE[1], *args],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=True,
    )
    return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if "|" in line}


def test_version_imports_next_to_nothing() -> None:
    """Of ours two packages, of others none; not even typing or pathlib."""
    modules = imported("--version")

    ours = {name for name in modules if name.startswith(("dynamic_pipeline", "pipeline_config"))}
    assert ours == {"dynamic_pipeline", "dynamic_pipeline.cli"}
    assert {name.split(".")[0] for name in modules} & (
        HEAVY | {"typer", "typing", "pathlib", "enum"}
    ) == set()


def test_help_imports_nothing_heavy() -> None:
    """typer, and neither the engine nor what reads a configuration."""
    assert {name.split(".")[0] for name in imported("--help")} & HEAVY == set()


def test_the_help_of_run_does_not_import_the_engine() -> None:
    """Options are declared apart from what they start (typer itself brings pydantic for their types)."""
    modules = imported("run", "--help")

    assert not modules & {
        "dynamic_pipeline.orchestrator",
        "dynamic_pipeline.cli.session",
        "loguru",
        "yaml",
        "rich",
    }


def test_the_version_is_told_by_both_spellings() -> None:
    """-V and --version answer on stdout."""
    for option in ("-V", "--version"):
        done = subprocess.run([*PIPELINE, option], capture_output=True, text=True, check=True)
        assert done.stdout.startswith("dynamic-pipeline ")
