"""The counts of a run, and the rates made of them."""

import pytest
from dynamic_pipeline.attempts import Attempt, Failed, Succeeded
from dynamic_pipeline.events import Event, JobFailed, JobRetrying, JobSucceeded, JobUnfinished, RunStarted
from dynamic_pipeline.jobs import Job
from dynamic_pipeline.stats import Stats

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
