"""The counts of a run, and the rates made of them."""

import os
from pathlib import Path

import pytest
from dynamic_pipeline.attempts import Attempt, Failed, Succeeded
from dynamic_pipeline.events import Event, JobFailed, JobRetrying, JobSucceeded, JobUnfinished, RunStarted
from dynamic_pipeline.jobs import Job
from dynamic_pipeline.records import Record
from dynamic_pipeline.reports import CommandReport, CommandTail
from dynamic_pipeline.spool import Spool
from dynamic_pipeline.stats import OTHER_CAUSES, Stats, cause_of

ATTEMPT = Attempt(Job(1, None), 1)


def ok(elapsed_s: float = 0.0) -> Event:
    return JobSucceeded(ATTEMPT, Succeeded(None, elapsed_s, "worker-01"))


def retrying(elapsed_s: float = 0.0) -> Event:
    return JobRetrying(ATTEMPT, Failed("boom", elapsed_s, "worker-01"), 3)


def failed(elapsed_s: float = 0.0, job: int = 1) -> JobFailed:
    return JobFailed(Attempt(Job(job, None), 4), Failed("boom", elapsed_s, "worker-01"))


def test_each_way_to_end_is_counted_apart() -> None:
    """Succeeded, failed and unfinished jobs and retries have a count each; finished are the first two."""
    stats = Stats()
    stats.add(
        [RunStarted(2), ok(), ok(), ok(), retrying(), retrying(), failed(), JobUnfinished(Job(9, None))], 0
    )
    stats.add([ok()], 1)

    assert (4, 1, 1, 2) == (stats.succeeded, stats.failed, stats.unfinished, stats.retries)
    assert 5 == stats.finished


def test_the_first_thousand_failures_are_kept() -> None:
    """All are counted, and memory stays flat."""
    stats = Stats()
    stats.add([failed(job=number) for number in range(1, 1102)], 0)

    assert 1101 == stats.failed
    assert list(range(1, 1001)) == [failure.attempt.job.id for failure in stats.failures]


def test_service_time_is_work_per_finished_job_retries_included() -> None:
    """Three attempts of 2, 3 and 5 seconds that finish two jobs are 5 seconds a job."""
    stats = Stats()
    stats.add([retrying(2.0), ok(3.0), failed(5.0)], 0)

    assert 5.0 == stats.service_time_s()


def test_service_time_is_unknown_before_the_first_job_has_finished() -> None:
    """A retry is no finished job."""
    stats = Stats()
    stats.add([retrying(2.0)], 0)

    assert stats.service_time_s() is None


def test_the_rate_counts_from_the_start_at_first() -> None:
    """24 jobs in the first 4 seconds are 6 a second."""
    stats = Stats()
    stats.add([RunStarted(2)], 100.0)
    stats.add([ok()] * 23 + [failed()], 104.0)

    assert 6.0 == stats.rate_per_s(104.0)


def test_the_rate_forgets_what_is_older_than_ten_seconds() -> None:
    """A fast first minute does not colour the present."""
    stats = Stats()
    stats.add([RunStarted(2)], 0.0)
    stats.add([ok()] * 1000, 1.0)
    for now_s in range(2, 61):
        stats.add([ok()] * 3, now_s)

    assert 3.0 == pytest.approx(stats.rate_per_s(60.0))


def test_a_burst_after_a_long_silence_counts() -> None:
    """Jobs that took longer than the window, and ended together, are not forgotten as soon as they end."""
    stats = Stats()
    stats.add([RunStarted(2)], 0.0)
    stats.add([ok()] * 100, 20.0)

    assert stats.rate_per_s(20.5) > 0


def test_no_time_and_no_events_are_a_rate_of_zero() -> None:
    """The first moment divides by nothing."""
    stats = Stats()
    before = stats.rate_per_s(5.0)
    stats.add([RunStarted(2), ok()], 5.0)

    assert (0.0, 0.0) == (before, stats.rate_per_s(5.0))


def test_batches_in_quick_succession_cost_no_memory() -> None:
    """However many batches come, the window holds a bounded number of samples."""
    stats = Stats()
    for tick in range(100_000):
        stats.add([ok()], tick / 1000)

    assert len(stats._recent) <= 22
    assert 1000.0 == pytest.approx(stats.rate_per_s(99.999), rel=0.01)


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        ("exit 1", "exit 1"),
        ("exit 127 (not found): /no/such", "exit 127 (not found)"),
        ("timeout after 1 s", "timeout after 1 s"),
        ("killed by signal 9 (SIGKILL)", "killed by signal 9 (SIGKILL)"),
        ("ValueError: no: really", "ValueError"),
        ("bad record: not JSON", "bad record"),
        (": x", ": x"),
        ("first\nsecond", "first"),
        ("x" * 500, "x" * 100),
    ],
)
def test_a_cause_is_what_errors_have_in_common(error: str, cause: str) -> None:
    """The class of an exception without its text; what a command did, as a whole."""
    assert cause == cause_of(error)


def test_causes_are_counted_for_all_failures_and_their_number_has_an_end() -> None:
    """A million different texts do not fill the memory."""
    stats = Stats()
    stats.add([failed()] * 1500, 0)
    for number in range(1100):
        stats.add([JobFailed(ATTEMPT, Failed(f"E{number}: x", 0.0, "w"))], 0)

    assert (1500, 101, 1001) == (stats.causes["boom"], stats.causes[OTHER_CAUSES], len(stats.causes))


def test_kept_failures_hold_no_whole_record_and_no_output(tmp_path: Path) -> None:
    """Of a command's output the end, of stderr if there is any; of record and error the beginning."""
    spools = Spool(str(tmp_path / "out")), Spool(str(tmp_path / "err"))
    for spool, text in zip(spools, (b"out", b"x" * 5000 + b"end"), strict=True):
        Path(os.fsdecode(spool.hand_out())).write_bytes(text)
        spool.seal()
    record = Record(b"r" * 100_000, "in", 3, fields={"a": "r" * 100_000})
    outcome = Failed("e" * 5000, 0.1, "w", value=CommandReport(*spools, 1, 0.0, 1))
    stats = Stats()
    stats.add([JobFailed(Attempt(Job(7, record), 2), outcome)], 0)

    (kept,) = stats.failures
    assert (7, 2, "e" * 1000) == (kept.attempt.job.id, kept.attempt.number, kept.outcome.error)
    assert Record(b"r" * 804, "in", 3) == kept.attempt.job.payload
    assert CommandTail((b"x" * 5000 + b"end")[-4096:]) == kept.outcome.value


def test_an_output_that_was_removed_is_no_fault_of_the_counts(tmp_path: Path) -> None:
    """Whoever has to show it will tell."""
    spool = Spool(str(tmp_path / "out"), in_memory=-1)
    Path(os.fsdecode(spool.hand_out())).write_bytes(b"x")
    spool.seal()
    (tmp_path / "out").unlink()
    stats = Stats()
    report = CommandReport(spool, Spool(str(tmp_path / "err")), 1, 0.0, 1)
    stats.add([JobFailed(ATTEMPT, Failed("exit 1", 0.1, "w", value=report))], 0)

    assert CommandTail(b"") == stats.failures[0].outcome.value


def test_the_payload_and_the_value_of_library_users_are_kept_as_they_are() -> None:
    """They are theirs: who asks for the failures wants to see what failed."""
    payload = {"a": ["b"] * 1000}
    stats = Stats()
    stats.add([JobFailed(Attempt(Job(1, payload), 1), Failed("boom", 0.0, "w", value=b"x"))], 0)

    assert payload is stats.failures[0].attempt.job.payload
    assert b"x" == stats.failures[0].outcome.value
