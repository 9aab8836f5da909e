"""The seed's workload: jobs that take a while, some of which fail."""

import math
from typing import Any

import pytest
from dynamic_pipeline.attempts import Attempt, Failed, Outcome, Succeeded, run_attempt
from dynamic_pipeline.errors import AttemptFailed, Interrupted
from dynamic_pipeline.jobs import Job
from dynamic_pipeline.work.simulated import SimulatedWork

from tests.doubles import Spawned, wait_until_waiting

AT_ONCE = (0.0, 0.0)


class NoWait:
    """Stands in for the event that an attempt waits on: notes for how long, and is not set."""

    def __init__(self) -> None:
        self.waits_s: list[float] = []

    def wait(self, timeout_s: float) -> bool:
        self.waits_s.append(timeout_s)
        return False


def attempts(count: int) -> list[Attempt]:
    return [Attempt(Job(job, None), number) for job in range(1, count + 1) for number in (1, 2)]


def is_ok(outcome: Outcome) -> bool:
    return isinstance(outcome, Succeeded)


def results(work: SimulatedWork, order: list[Attempt]) -> dict[Attempt, bool]:
    return {attempt: is_ok(run_attempt(work, attempt)) for attempt in order}


def test_an_outcome_depends_on_seed_job_and_attempt_only() -> None:
    """The order of the attempts does not matter, another seed does."""
    order = attempts(200)
    forwards = results(SimulatedWork(7, AT_ONCE, 3), order)

    assert forwards == results(SimulatedWork(7, AT_ONCE, 3), order[::-1])
    assert forwards != results(SimulatedWork(8, AT_ONCE, 3), order)


def test_a_retry_has_luck_of_its_own() -> None:
    """Some jobs fail first and then succeed."""
    outcomes = results(SimulatedWork(7, AT_ONCE, 3), attempts(50))

    assert any(
        not outcomes[first] and outcomes[first._replace(number=2)] for first in outcomes if first.number == 1
    )


@pytest.mark.parametrize(
    ("failure_rate", "least", "most"), [(0, 0, 0), (1, 4000, 4000), (2, 1850, 2150), (20, 140, 260)]
)
def test_about_one_attempt_in_n_fails(failure_rate: int, least: int, most: int) -> None:
    """0: none, 1: all, n: about one in n of 4000."""
    outcomes = results(SimulatedWork(1, AT_ONCE, failure_rate), attempts(2000))

    assert least <= sum(not ok for ok in outcomes.values()) <= most


def test_a_failure_says_that_it_is_simulated() -> None:
    """Its text goes into the log as it is."""
    with pytest.raises(AttemptFailed, match=r"^simulated worker failure$"):
        SimulatedWork(1, AT_ONCE, 1)(Attempt(Job(1, None), 1))


def test_the_time_an_attempt_takes_lies_between_the_bounds() -> None:
    """Uniform from the shortest to the longest, the same for the same seed, whether it fails or not."""

    def waits(failure_rate: int) -> list[float]:
        work: Any = SimulatedWork(1, (1.0, 5.0), failure_rate)
        work._aborted = event = NoWait()
        results(work, attempts(500))
        return event.waits_s

    times = waits(20)

    assert (1.0, 5.0) == pytest.approx((min(times), max(times)), abs=0.05)
    assert 3.0 == pytest.approx(math.fsum(times) / len(times), abs=0.15)
    assert times == waits(0)


def test_an_abort_cuts_a_running_job_short() -> None:
    """An attempt of an hour ends when the run is forced to stop, and is no attempt then."""
    work = SimulatedWork(1, (3600.0, 3600.0), 0)
    running = Spawned(lambda: run_attempt(work, Attempt(Job(1, None), 1)))
    wait_until_waiting(running.thread, "__call__")
    work.abort()
    outcome = running.result()

    assert isinstance(outcome, Failed)
    assert ("simulated job was cut short", True) == (outcome.error, outcome.is_interrupted)


def test_after_an_abort_no_job_takes_time() -> None:
    """One that a worker takes up late is cut short as it begins."""
    work = SimulatedWork(1, (3600.0, 3600.0), 0)
    work.abort()

    with pytest.raises(Interrupted):
        work(Attempt(Job(1, None), 1))
