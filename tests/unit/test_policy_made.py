"""Policies as the settings have them, within the bounds of a file that changes."""

from __future__ import annotations

from pathlib import Path

import pipeline_config
from dynamic_pipeline.cli.policy import make_policy
from dynamic_pipeline.cli.request import Request
from dynamic_pipeline.scaling import Load
from pipeline_config import Override


def load(limit: int, now_s: float, overloads: int) -> Load:
    return Load(100, limit, 0, limit, now_s=now_s, overloads=overloads)


def test_what_a_guard_knows_outlives_a_change_of_the_bounds(tmp_path: Path) -> None:
    """Failures of long ago do not count again because somebody has edited the file."""
    overrides = [Override.from_set(text) for text in ("guards.overload=75", "scaling.policy=fixed")]
    settings = pipeline_config.load(None, overrides=overrides).settings
    file = tmp_path / "jobs"
    file.write_text("2 8")
    policy = make_policy(Request(jobs_file=str(file)), settings)
    assert 5 == policy.decide(load(8, 1.0, 3)).limit
    back = [policy.decide(load(8, 10.0 * number, 3)).limit for number in range(2, 8)]
    file.write_text("2 7")
    policy.decide(load(8, 80.0, 3))

    assert 8 == back[-1]
    assert 7 == policy.decide(load(7, 81.0, 3)).limit
