"""Folders of outputs, found again by the id of their run."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from dynamic_pipeline import spool_folder


def test_what_a_run_has_left_is_found_by_its_id_and_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what is in it; not what another run has, though its id begins alike."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left, other = Path(spool_folder.make("run-1")), Path(spool_folder.make("run-11"))
    for folder in (left, other):
        (folder / "1.1.out").touch()

    assert [str(left)] == spool_folder.of_run("run-1") == spool_folder.of_run("run-1", str(tmp_path))
    assert 0o700 == left.stat().st_mode & 0o777
    spool_folder.remove("run-1")
    spool_folder.remove("run-1")
    assert [other] == list(tmp_path.iterdir())


def test_a_folder_whose_name_has_signs_is_no_pattern(tmp_path: Path) -> None:
    """Nor is one that is not there an error."""
    parent = tmp_path / "out[12]"
    parent.mkdir()
    made = spool_folder.make("run-1", str(parent))

    assert [made] == spool_folder.of_run("run-1", str(parent))
    assert [] == spool_folder.of_run("run-1", str(tmp_path / "nowhere"))
