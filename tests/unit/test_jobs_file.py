"""Bounds of the pool from a file that a person edits while the run goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
from dynamic_pipeline.jobs_file import JobsFilePolicy, parse_bounds
from dynamic_pipeline.scaling import FixedScaling, Load, ScalingPolicy, ThresholdScaling


def make(least: int, most: int) -> ScalingPolicy:
    return FixedScaling(most) if least == most else ThresholdScaling(least, most)


def load(limit: int, backlog: int = 30) -> Load:
    return Load(backlog, 0, 0, limit)


@pytest.mark.parametrize(
    ("text", "bounds"), [("4", (4, 4)), (" 2 8\n", (2, 8)), ("0", (0, 0)), ("0 0", (0, 0))]
)
def test_what_it_may_hold(text: str, bounds: tuple[int, int]) -> None:
    """A number, or two."""
    assert bounds == parse_bounds(text)


@pytest.mark.parametrize("text", ["", "x", "-1", "1 2 3", "8 2", "0 4", "1.5", "٣"])
def test_garbage_is_told(text: str) -> None:
    """No number is guessed."""
    with pytest.raises(ValueError, match=r"must|MIN"):
        parse_bounds(text)


def test_the_file_is_followed_and_garbage_keeps_the_last_value(tmp_path: Path) -> None:
    """Each decision reads it; 0 pauses; nonsense is warned of once and changes nothing, nor does a missing file."""
    file = tmp_path / "jobs"
    told: list[str] = []
    policy = JobsFilePolicy(str(file), (2, 8), make)
    limits = [policy.start()]
    for text in ("3", "5 6", "0", "2 4", "many", "many", None, "7"):
        file.unlink() if text is None else file.write_text(text)
        decision = policy.decide(load(limits[-1]))
        limits.append(decision.limit)
        told += [decision.warning] * bool(decision.warning)

    assert [2, 3, 5, 0, 2, 2, 2, 2, 7] == limits
    assert [f"{file}: it must hold N or MIN MAX, whole numbers; the limits stay as they are"] == told


def test_within_the_bounds_the_policy_decides(tmp_path: Path) -> None:
    """The backlog still counts."""
    file = tmp_path / "jobs"
    file.write_text("2 4")
    policy = JobsFilePolicy(str(file), (1, 9), make)

    assert [3, 4, 2] == [policy.decide(load(*at)).limit for at in ((2, 50), (4, 50), (3, 0))]


def test_a_file_that_pauses_is_heard_from_the_start(tmp_path: Path) -> None:
    """No worker until it says otherwise."""
    (tmp_path / "jobs").write_text("0")
    assert 0 == JobsFilePolicy(str(tmp_path / "jobs"), (2, 8), make).start()


def test_garbage_at_the_start_is_a_mistake(tmp_path: Path) -> None:
    """Nobody should have to wait to hear of it."""
    (tmp_path / "jobs").write_text("many")
    with pytest.raises(ValueError, match="it must hold N or MIN MAX"):
        JobsFilePolicy(str(tmp_path / "jobs"), (2, 8), make)
