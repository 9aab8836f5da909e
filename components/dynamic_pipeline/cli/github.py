"""Tells GitHub Actions how a run ended, where it runs there."""

from __future__ import annotations

import os
from collections.abc import Sequence

from dynamic_pipeline.cli.console import write_stderr
from dynamic_pipeline.summary import Summary


def tell_github(run: Summary, code: int, elapsed_s: float, again: Sequence[str]) -> str:
    """Annotations to stderr, which GitHub reads as it reads stdout; a summary to the step's file. What went wrong, or nothing."""
    if os.environ.get("GITHUB_ACTIONS") != "true":
        return ""
    from dynamic_pipeline.views.github import annotation_lines, step_summary  # noqa: PLC0415 - only there

    if lines := list(annotation_lines(run)):
        write_stderr("\n".join(lines))
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if not path:
        return ""
    try:
        with open(path, "a", encoding="utf-8", errors="backslashreplace") as file:  # noqa: PTH123 - text
            file.write(step_summary(run, code, elapsed_s, again))
    except OSError as error:
        return f"warning: GITHUB_STEP_SUMMARY cannot be written: {error.strerror}"
    return ""
