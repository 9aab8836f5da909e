"""What of a run's rows becomes numbers in its report: spreads, intervals, the pool's line, rows of workers, fates of jobs."""

from __future__ import annotations

import random
from typing import Any

import pytest
from dynamic_pipeline.jobs import JobState
from dynamic_pipeline.journal.report_reader import Try
from dynamic_pipeline.report.fold import Fold, fate_of
from dynamic_pipeline.report.gantt import MOST_BARS, Cell, Gantt, GanttBar
from dynamic_pipeline.report.spread import Spread
from dynamic_pipeline.report.timeline import Change, Intervals, Point, PoolLine, round_step


def spread(*values: int) -> Spread:
    made = Spread()
    for value in values:
        made.add(value)
    return made


def a_try(seq: int, number: int = 1, outcome: str | None = "succeeded", **others: Any) -> Try:
    """From second 10 to 11 of the epoch, accepted at second 4."""
    made = Try(seq, number, "w1", 10_000_000, 11_000_000, outcome, None, JobState.SUCCEEDED, 4_000_000, None)
    return made._replace(**others)


def folded(*tries: Try, is_running: bool = False) -> Fold:
    """Of a run from second 5 to 20."""
    fold = Fold(5_000_000, 20_000_000, len(tries), is_running=is_running)
    for one in tries:
        fold.add(one)
    fold.close()
    return fold


# ── spreads ─────────────────────────────────────────────────────────────────────────────────────────


def test_percentiles_are_within_a_hundredth() -> None:
    """Against the values themselves, sorted."""
    values = [10**9, *random.Random(8).sample(range(1, 10**7), 5000)]
    made = spread(*values)
    ordered = sorted(values)

    for share, place in ((0.5, 2500), (0.95, 4750), (0.99, 4951)):
        assert made.at(share) == pytest.approx(ordered[place], rel=0.011)
    assert max(values) == made.at(1)


def test_a_value_alone_is_told_as_it_is() -> None:
    """Of one there is no doubt; of none there is nothing to tell."""
    assert (1234.0, 1234.0) == (spread(1234).at(0.5), spread(1234).at(0.99))
    assert spread().at(0.5) is None
    assert [] == spread().bars()


def test_half_of_the_values_do_not_exceed_the_median() -> None:
    """Of four the second, as by the nearest rank."""
    assert spread(100, 200, 300, 400).at(0.5) == pytest.approx(200, rel=0.01)


def test_a_histogram_has_round_edges_and_counts_everything() -> None:
    """Fine where values are near one another, coarse where they are a thousand times apart."""
    fine = spread(1100, 1150, 2400).bars()
    coarse = spread(3, 30, 30_000).bars()

    assert [(1000, 1250, 2), (1250, 1600, 0), (1600, 2000, 0), (2000, 2500, 1)] == fine
    assert [2, 5, 10, 20, 50] == [bar.low for bar in coarse[:5]]
    assert 3 == sum(bar.size for bar in coarse)


@pytest.mark.parametrize("values", [(0,), (1,), (0, 0, 5), (1, 2), (999, 1000, 1001), (10**12,)])
def test_a_histogram_holds_any_values(values: tuple[int, ...]) -> None:
    """Nothing, a microsecond, eleven days."""
    bars = spread(*values).bars()

    assert len(values) == sum(bar.size for bar in bars)
    assert all(bar.low < bar.high for bar in bars)


# ── over time ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("span", "most", "step"),
    [(0.004, 8, 0.001), (1, 8, 0.2), (14, 60, 0.5), (60, 8, 10), (3600, 60, 60), (10**6, 60, 28800)],
)
def test_steps_of_time_are_round(span: float, most: int, step: float) -> None:
    """As clocks have them from a second on."""
    assert step == round_step(span, most)


def test_attempts_are_counted_where_they_ended() -> None:
    """The very end belongs to the last interval."""
    intervals = Intervals(10)
    intervals.add(0.1, 5, has_failed=False)
    intervals.add(0.3, 5, has_failed=True)
    intervals.add(10, 7, has_failed=False)

    assert 0.2 == intervals.width_s
    assert [(1, 0), (0, 1), (1, 0)] == [
        (one.succeeded, one.failed) for one in (*intervals.all[:2], intervals.all[-1])
    ]
    assert 3 == sum(one.run_times.count for one in intervals.all)


def test_the_pool_keeps_its_size_until_the_next_look() -> None:
    """What was before the first look is the size that it saw, and a backlog that nobody knows."""
    line = PoolLine(10)
    line.add(2, 50, 2, 3, "backlog 50 >= 50")
    line.add(6, 20, 3, 3, "between")

    assert [Point(0, None, 2), Point(2, 50, 3), Point(6, 20, 3), Point(10, 20, 3)] == line.points(10)
    assert [Change(2, 2, 3, 50, "backlog 50 >= 50")] == line.changes
    assert 2 * 2 + 8 * 3 == line.allowed_s(10)
    assert not line.is_thinned


def test_a_long_run_is_drawn_with_few_points() -> None:
    """Of looks that make one point the highest backlog counts, so that no peak is lost, and every change is."""
    line = PoolLine(100_000)
    for second in range(100_000):
        line.add(second, 999 if second == 77_777 else second % 7, 2 + second % 2, 3 - second % 2, "r")

    assert 600 <= len(line.points(100_000)) <= 602
    assert 999 == max(point.backlog or 0 for point in line.points(100_000))
    assert line.is_thinned
    assert (100_000, 200) == (line.change_count, len(line.changes))


def test_too_many_bars_become_shares_of_busy_time() -> None:
    """A quarter of a slot is a quarter; where something failed there is a mark; idle time is nothing."""
    gantt = Gantt(1000, MOST_BARS + 1)
    slot_s = gantt.slot_s
    gantt.add("w1", GanttBar(0, slot_s * 2, 1, 1, "succeeded"))
    gantt.add("w1", GanttBar(slot_s * 4, slot_s * 4.25, 2, 1, "failed"))
    ((name, row),) = gantt.named_rows()

    assert gantt.is_summed
    assert ("w1", 2, 1, []) == (name, row.tries, row.failed, row.bars)
    cells = row.cells(slot_s)
    assert (0.0, 4) == cells[0][::2]
    assert Cell(slot_s * 4, slot_s * 5, 1, True) == cells[-1]
    assert slot_s * 2 == pytest.approx(cells[0].end_s)


def test_workers_beyond_those_shown_are_counted() -> None:
    """A pool of a thousand makes a page that can still be read."""
    gantt = Gantt(10, 100)
    for number in range(100):
        gantt.add(f"w{number}", GanttBar(0, 1, number, 1, "succeeded"))

    assert (64, 36, 36) == (len(gantt.rows), gantt.unlisted, gantt.left_out)
    assert ["w2", "w10"] == [name for name, _ in gantt.named_rows() if name in {"w10", "w2"}]


def test_attempts_without_a_worker_do_not_cover_one_another() -> None:
    """Those that run have none on record yet, and run at the same time."""
    gantt = Gantt(10, 4)
    for seq, (start_s, end_s) in enumerate([(0, 4), (1, 9), (4, 6)], 1):
        gantt.add("", GanttBar(start_s, end_s, seq, 1, "running"))
    gantt.add("worker-01", GanttBar(0, 1, 4, 1, "succeeded"))

    rows = {name: [bar.seq for bar in row.bars] for name, row in gantt.named_rows()}
    assert {"worker-01": [4], "(not known) 1": [1, 3], "(not known) 2": [2]} == rows
    assert "worker-01" == next(iter(rows))
    assert gantt.has_unknown


# ── attempts ────────────────────────────────────────────────────────────────────────────────────────


def test_run_time_and_queue_wait_are_apart() -> None:
    """A job that had been accepted before the run waits from its start; only the first attempt counts."""
    fold = folded(
        a_try(1, accepted_us=8_000_000, outcome="failed"),
        a_try(1, 2, started_us=12_000_000, ended_us=12_500_000),
        a_try(2),
        a_try(3, accepted_us=None),
    )

    assert (2, 2_000_000, 5_000_000) == (fold.waits.count, fold.waits.least, fold.waits.most)
    assert (4, 500_000, 1_000_000) == (fold.run_times.count, fold.run_times.least, fold.run_times.most)
    assert (1, [(1, 2)]) == (fold.flaky, [(kept.seq, kept.number) for kept in fold.flaky_jobs])
    assert {"succeeded": 3} == fold.fates
    assert {"succeeded": 3, "failed": 1} == fold.outcomes
    assert 3_500_000 == fold.busy_us


def test_what_a_kill_left_ends_with_the_last_sign_of_life() -> None:
    """Not when somebody found out, and it is no run time."""
    fold = folded(a_try(1, ended_us=9 * 10**12, outcome="interrupted"), a_try(2, ended_us=None, outcome=None))
    ((_, row),) = fold.gantt.named_rows()

    assert [(5.0, 15.0, "interrupted")] * 2 == [(bar.start_s, bar.end_s, bar.outcome) for bar in row.bars]
    assert (0, {"interrupted": 2}) == (fold.run_times.count, fold.fates)


def test_what_no_worker_is_known_to_have_taken_on_has_no_wait() -> None:
    """Until it ends the journal has when it was allowed to begin, which may be long before a worker was free."""
    open_one: dict[str, Any] = {"outcome": None, "ended_us": None, "worker": ""}
    fold = folded(a_try(1), a_try(2, **open_one), a_try(3, outcome="interrupted", worker=""), is_running=True)

    assert (1, 1_000_000) == (fold.waits.count, fold.busy_us)
    assert {"succeeded": 1, "running": 1, "interrupted": 1} == fold.fates


def test_causes_are_counted_by_jobs_and_list_the_first() -> None:
    """Ten of each; attempts that were tried again are no failures of their own."""
    tries = [
        a_try(seq, outcome="failed", error=f"exit 3: {seq}", state=JobState.FAILED) for seq in range(1, 26)
    ]
    tries += [a_try(30, outcome="failed", error="exit 9"), a_try(30, 2)]
    fold = folded(*tries)

    assert {"exit 3": 25} == fold.causes
    assert list(range(1, 11)) == [kept.seq for kept in fold.failed_jobs["exit 3"]]


def test_the_slowest_are_the_slowest() -> None:
    """Twenty of them, the longest first; of equal ones who came first."""
    tries = [a_try(seq, ended_us=10_000_000 + seq // 2 * 1000) for seq in range(2, 102)]

    assert [100, 101, 98, 99] == [kept.seq for kept in folded(*tries).slowest[:4]]
    assert 20 == len(folded(*tries).slowest)


@pytest.mark.parametrize(
    ("last", "fate"),
    [
        (a_try(1), "succeeded"),
        (a_try(1, 2, "failed", state=JobState.FAILED), "failed"),
        (a_try(1, 2, "timeout", state=JobState.FAILED), "failed"),
        (a_try(1, 2, "failed", state=JobState.RETRYING), "retrying"),
        # A later run went on with it, or tried what had failed for good once more.
        (a_try(1, 2, "failed", state=JobState.SUCCEEDED, next_number=3), "retrying"),
        (a_try(1, 2, "failed", state=JobState.SUCCEEDED, next_number=1), "failed"),
        (a_try(1, 2, "failed", state=JobState.QUEUED), "failed"),
        (a_try(1, 1, None, state=JobState.QUEUED), "interrupted"),
        (a_try(1, 1, "interrupted", state=JobState.HELD), "held"),
    ],
)
def test_a_job_is_judged_by_what_its_run_did(last: Try, fate: str) -> None:
    """Whatever became of it since."""
    assert fate == fate_of(last, is_running=False)


def test_an_open_attempt_runs_while_its_run_does() -> None:
    """Until now, which is where the page ends."""
    assert "running" == fate_of(a_try(1, outcome=None, ended_us=None), is_running=True)
