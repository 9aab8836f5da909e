"""The live view as text: what it says, and that it fits wherever it is shown."""

from __future__ import annotations

import pytest
from dynamic_pipeline.views.live import ASCII, UNICODE, RunningJob, Snapshot, ago, clock, render, sparkline
from hypothesis import given
from hypothesis import strategies as st

NOW = Snapshot(
    run="20250813-100000-7f3a",
    elapsed_s=134.0,
    done=612,
    total=1600,
    ok=608,
    failed=4,
    retries=9,
    flaky=5,
    queued=72,
    running=6,
    waiting=3,
    limit=6,
    least=2,
    most=8,
    decision="5→6 backlog 78 >= 50",
    decision_ago_s=4.2,
    backlogs=(10, 20, 40, 80, 78),
    rates=(4.0, 4.5, 4.6),
    rate_per_s=4.6,
    p50_s=1.3,
    p95_s=4.7,
    tries=4,
    jobs=[RunningJob(611, "convert img_0611.png", 1, 3.1), RunningJob(17, "fetch a/17", 3, 1.2)],
    stopping="running",
    log="/srv/nightly/logs/pipeline.log",
)


def shown(now: Snapshot, width: int, height: int, marks: object = UNICODE) -> list[str]:
    return [line.plain.rstrip() for line in render(now, width, height, marks)]  # type: ignore[arg-type]


def test_at_eighty_columns_it_tells_all() -> None:
    """Word for word: the progress, the workers and why, the backlog, the rate, the retries, the longest jobs, Ctrl+C."""
    assert [
        "run 20250813-100000-7f3a                        elapsed 02:14   about 03:34 left",
        "████████████████···························  38%   612/1600   ok 608   failed 4",
        "workers   6 in 2–8     ●●●●●●                     4.2s ago: 5→6 backlog 78 >= 50",
        "backlog   81                              ▂▃▅██   72 queued · 6 running",
        "rate      4.6/s                             ▇██   p50 1.3s · p95 4.7s",
        "retries   9            3 waiting · 5 ok after a retry",
        " job 611     convert img_0611.png                                           3.1s",
        " job 17      fetch a/17                                        try 3 of 4   1.2s",
        "Ctrl+C: finish accepted work, then stop · twice: stop now",
    ] == shown(NOW, 81, 24)


def test_a_narrow_screen_has_the_counts() -> None:
    """40 x 10: two lines, and what Ctrl+C does."""
    assert [
        "02:14 612/1600 38%  ok 608   failed 4",
        "6 of 6 work · backlog 81 · 4.6/s",
        "Ctrl+C: finish and stop, twice: now",
    ] == shown(NOW, 40, 10)


def test_without_a_total_there_is_no_bar() -> None:
    """Never a share of something that nobody knows."""
    lines = shown(NOW._replace(total=None), 80, 24)

    assert "612 done   ok 608   failed 4" == lines[1]
    assert "about" not in lines[0]
    assert not any("%" in line for line in lines)


@pytest.mark.parametrize(
    ("stopping", "told"),
    [
        ("draining", "draining backlog=81 … Ctrl+C again to stop now"),
        ("ending", "ending what runs, 81 in hand"),
    ],
)
def test_the_last_line_tells_what_a_signal_has_done(stopping: str, told: str) -> None:
    """And what the next one does."""
    assert told == shown(NOW._replace(stopping=stopping), 80, 24)[-1]


def test_ascii_has_no_other_characters() -> None:
    """For a terminal whose encoding has no more."""
    lines = shown(NOW._replace(decision="5->6 backlog 78 >= 50"), 80, 24, ASCII)

    assert all(line.isascii() for line in lines)
    assert lines[1].startswith("################....")


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=60)
SNAPSHOTS = st.builds(
    Snapshot,
    run=st.just("20250813-100000-7f3a"),
    elapsed_s=st.floats(0, 1e6),
    done=st.integers(0, 10**7),
    total=st.none() | st.integers(1, 10**7),
    ok=st.integers(0, 10**7),
    failed=st.integers(0, 10**7),
    retries=st.integers(0, 10**7),
    flaky=st.integers(0, 10**7),
    queued=st.integers(0, 10**5),
    running=st.integers(0, 1000),
    waiting=st.integers(0, 10**5),
    limit=st.integers(0, 1000),
    least=st.integers(1, 8),
    most=st.integers(8, 1000),
    decision=TEXTS,
    decision_ago_s=st.floats(0, 1e6),
    backlogs=st.lists(st.floats(0, 1e6), max_size=60),
    rates=st.lists(st.floats(0, 1e6), max_size=60),
    rate_per_s=st.floats(0, 1e6),
    p50_s=st.none() | st.floats(0, 1e5),
    p95_s=st.none() | st.floats(0, 1e5),
    tries=st.integers(1, 100),
    jobs=st.lists(
        st.builds(RunningJob, st.integers(1, 10**7), TEXTS, st.integers(1, 9), st.floats(0, 1e6)), max_size=9
    ),
    stopping=st.sampled_from(["running", "draining", "ending"]),
    log=TEXTS,
)


@given(SNAPSHOTS, st.integers(1, 200), st.integers(0, 60))
def test_it_fits_wherever_it_is_shown(now: Snapshot, width: int, height: int) -> None:
    """Fewer columns than there are, wide characters included, no more rows, and what Ctrl+C does is the last one."""
    lines = render(now, width, height)

    assert len(lines) <= height
    assert all(line.cell_len < max(width, 2) for line in lines)
    assert not any("\n" in line.plain for line in lines)


def test_a_sparkline_ends_with_the_latest() -> None:
    """From nothing to the highest, in a fixed number of columns."""
    assert " " * 21 + "▁▅█" == sparkline([0, 2, 4])
    assert "▁" * 24 == sparkline([0.0] * 60)
    assert 24 == len(sparkline([]))


def test_times_are_short() -> None:
    """As a person would say them."""
    assert ["00:00", "02:14", "1:02:14"] == [clock(0.4), clock(134), clock(3734)]
    assert ["0.4s", "17s", "3m", "2h"] == [ago(0.4), ago(17), ago(180), ago(7200)]
