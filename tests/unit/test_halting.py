"""When a run gives up: so many jobs, or such a share of them."""

from __future__ import annotations

import pytest
from dynamic_pipeline.halting import HaltPolicy


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("never", None),
        ("soon,fail=1", HaltPolicy(False, 1)),
        ("now,fail=30", HaltPolicy(True, 30)),
        ("soon,fail=10%", HaltPolicy(False, 10, True)),
        ("now,fail=100%", HaltPolicy(True, 100, True)),
        ("1", HaltPolicy(False, 1)),
        ("2", HaltPolicy(True, 1)),
    ],
)
def test_the_forms(text: str, policy: HaltPolicy | None) -> None:
    """The words and numbers of GNU parallel, as far as they speak of failures."""
    assert policy == HaltPolicy.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "soon,fail=0",
        "now,fail=101%",
        "fail=1",
        "soon,success=1",
        "3",
        "soon,fail=1.5",
        "soon,fail=-1",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    """The text says what would do."""
    with pytest.raises(ValueError, match="it must be never, soon,fail=N"):
        HaltPolicy.parse(text)


@pytest.mark.parametrize(
    ("text", "failed", "ended", "total", "is_reached"),
    [
        ("soon,fail=3", 2, 1000, None, False),
        ("soon,fail=3", 3, 3, None, True),
        ("soon,fail=10%", 10, 19, None, False),  # too few to speak of a share
        ("soon,fail=10%", 2, 20, None, True),
        ("soon,fail=10%", 2, 21, None, False),
        ("soon,fail=50%", 2, 2, 5, False),
        ("soon,fail=50%", 3, 3, 5, True),
        ("soon,fail=100%", 3, 3, 3, True),
    ],
)
def test_what_is_too_many(text: str, failed: int, ended: int, total: int | None, is_reached: bool) -> None:
    """A number at once; a share of the total where it is known, else of twenty or more that have ended."""
    policy = HaltPolicy.parse(text)
    assert policy is not None
    assert is_reached == policy.is_reached(failed, ended, total)
