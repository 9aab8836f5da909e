"""The folder that the commands of a run write to, named for the run: what a killed one has left is found again."""

from __future__ import annotations

import glob
import os
import shutil
import tempfile


def make(run_id: str, parent: str | None = None) -> str:
    """A new private folder in *parent*, or in the folder for temporary files.

    Raises:
        OSError: it cannot be made.
    """
    return tempfile.mkdtemp(prefix=_prefix(run_id), dir=parent)


def of_run(run_id: str, parent: str | None = None) -> list[str]:
    """Those that a run has left there. Ids are not given again, so they are of no living run."""
    folder = glob.escape(os.path.join(parent or tempfile.gettempdir(), _prefix(run_id)))  # noqa: PTH118 - text
    return glob.glob(f"{folder}*")  # noqa: PTH207 - same


def remove(run_id: str) -> None:
    """Remove what a killed run has left in the folder for temporary files."""
    for folder in of_run(run_id):
        shutil.rmtree(folder, ignore_errors=True)


def _prefix(run_id: str) -> str:
    return f"dynamic-pipeline-{run_id}-"
