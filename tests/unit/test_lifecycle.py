"""The phases of a run, and what its end means for the exit code."""

import math
from typing import Any

import pytest
from dynamic_pipeline.lifecycle import Due, Ending, Phase, Shutdown, exit_code
from hypothesis import given
from hypothesis import strategies as st

NOTHING: list[Due] = []
COUNTS = st.integers(0, 3)
ENDINGS = st.builds(
    Ending,
    accepted=COUNTS,
    succeeded=COUNTS,
    failed=COUNTS,
    unfinished=COUNTS,
    is_source_complete=st.booleans(),
    signal=st.sampled_from([None, 1, 2, 15]),
    is_forced=st.booleans(),
    io_fault=st.booleans(),
    reader_gone=st.booleans(),
    crashed=st.booleans(),
)


def test_a_running_run_has_nothing_due() -> None:
    """Before anybody asks it to stop there is neither report nor deadline."""
    shutdown = Shutdown(5.0, 2.5)

    assert (Phase.RUNNING, math.inf) == (shutdown.phase, shutdown.next_due_s)
    assert NOTHING == shutdown.take_due(1e9)


def test_a_drain_is_reported_twice_a_second() -> None:
    """The first report comes half a second after the start, the next half a second after each."""
    shutdown = Shutdown(None, 2.5)
    shutdown.enter(Phase.DRAINING, 100.0)

    assert 100.5 == shutdown.next_due_s
    assert NOTHING == shutdown.take_due(100.4)
    assert [Due.REPORT] == shutdown.take_due(100.5)
    assert NOTHING == shutdown.take_due(100.5)
    assert [Due.REPORT] == shutdown.take_due(101.0)


def test_a_late_report_is_not_made_up_for() -> None:
    """After a pause of seconds there is one report, not one per half second of it."""
    shutdown = Shutdown(None, 2.5)
    shutdown.enter(Phase.DRAINING, 100.0)

    assert [Due.REPORT] == shutdown.take_due(109.0)
    assert 109.5 == shutdown.next_due_s


def test_the_drain_timeout_is_due_once() -> None:
    """It comes with the report of the same moment, and not again."""
    shutdown = Shutdown(2.0, 2.5)
    shutdown.enter(Phase.DRAINING, 100.0)
    shutdown.take_due(101.9)

    assert 102.0 == shutdown.next_due_s
    assert [Due.DRAIN_TIMEOUT] == shutdown.take_due(102.0)
    assert [Due.REPORT] == shutdown.take_due(110.0)


def test_an_abort_has_one_deadline_and_no_reports() -> None:
    """The drain's reports and timeout end; the patience of the abort counts from its start."""
    shutdown = Shutdown(2.0, 2.5)
    shutdown.enter(Phase.DRAINING, 100.0)
    shutdown.enter(Phase.ABORTING, 101.0)

    assert 103.5 == shutdown.next_due_s
    assert NOTHING == shutdown.take_due(103.0)
    assert [Due.ABANDON] == shutdown.take_due(103.5)
    assert NOTHING == shutdown.take_due(200.0)


def test_what_is_left_after_the_last_job_of_a_forced_run_gets_a_moment_if_its_time_is_up() -> None:
    """The patience of an abort is for jobs and output together; it is not given twice."""
    shutdown = Shutdown(2.0, 2.5)
    shutdown.expect_end(99.0)
    assert math.inf == shutdown.next_due_s
    shutdown.enter(Phase.ABORTING, 100.0)
    shutdown.expect_end(101.0)
    assert 102.5 == shutdown.next_due_s
    assert [Due.ABANDON] == shutdown.take_due(102.5)
    shutdown.expect_end(102.5)
    assert 102.5 < shutdown.next_due_s < 103.5


def test_the_first_signal_is_kept() -> None:
    """The exit code names the signal that stopped the run, not the one that forced it."""
    shutdown = Shutdown(None, 2.5)
    shutdown.enter(Phase.DRAINING, 100.0, 2)
    shutdown.enter(Phase.ABORTING, 101.0, 15)
    assert (2, True) == (shutdown.signal, shutdown.is_forced)


@given(st.lists(st.sampled_from(Phase)))
def test_a_phase_is_never_left_for_an_earlier_one(phases: list[Phase]) -> None:
    """`enter` says whether it went on; there and back is no way."""
    shutdown = Shutdown(1.0, 1.0)
    for now_s, phase in enumerate(phases):
        before = shutdown.phase
        went_on = shutdown.enter(phase, now_s)

        assert went_on == (phase.value > before.value)
        assert max(before, phase, key=lambda each: each.value) is shutdown.phase


DONE: dict[str, Any] = {"accepted": 3, "succeeded": 3}
SOME_FAILED: dict[str, Any] = {"accepted": 3, "succeeded": 2, "failed": 1}
LEFT: dict[str, Any] = {"accepted": 3, "succeeded": 1, "failed": 1, "unfinished": 1}


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        (Ending(), 0),
        (Ending(**DONE), 0),
        (Ending(**DONE, signal=2), 0),
        (Ending(**SOME_FAILED), 1),
        (Ending(**SOME_FAILED, signal=15), 1),
        (Ending(**DONE, signal=2, is_source_complete=False), 130),
        (Ending(**DONE, signal=15, is_forced=True), 143),
        (Ending(**LEFT, signal=1), 129),
        (Ending(**SOME_FAILED, signal=2, is_source_complete=False), 130),
        (Ending(**SOME_FAILED, is_source_complete=False), 3),
        (Ending(**LEFT, signal=2, io_fault=True), 4),
        (Ending(**DONE, io_fault=True), 4),
        (Ending(**DONE, io_fault=True, reader_gone=True), 141),
        (Ending(**LEFT, signal=2, io_fault=True, crashed=True), 70),
        (Ending(**DONE, reader_gone=True, crashed=True), 70),
        (Ending(accepted=4, succeeded=3), 70),
        (Ending(accepted=2, succeeded=3), 70),
        (Ending(**DONE, is_source_complete=False), 3),
        (Ending(accepted=3, succeeded=2, unfinished=1), 3),
    ],
)
def test_the_exit_code_names_the_gravest_thing_that_happened(ending: Ending, code: int) -> None:
    """70 before 141 and 4, before 128+n, before 3, before 1; 0 for all done; jobs that do not add up are a bug of ours."""
    assert code == exit_code(ending)


@given(ENDINGS)
def test_zero_implies_that_everything_succeeded(ending: Ending) -> None:
    """No combination of facts gives 0 with a job that failed, was left or is missing, or a source cut short."""
    if exit_code(ending) == 0:
        assert ending.accepted == ending.succeeded
        assert (0, 0) == (ending.failed, ending.unfinished)
        assert ending.is_source_complete
        assert not any((ending.io_fault, ending.reader_gone, ending.crashed))
        assert ending.signal is None or not ending.is_forced


@given(ENDINGS)
def test_every_exit_code_is_a_documented_one(ending: Ending) -> None:
    """Whatever happened, a caller finds the code in the table."""
    assert exit_code(ending) in {0, 1, 3, 4, 70, 129, 130, 141, 143}


def test_a_forced_stop_is_told_once() -> None:
    """Whoever forces it, a signal or the clock."""
    shutdown = Shutdown(5.0, 1.0)
    told: list[Phase] = []
    shutdown.on_abort = lambda: told.append(shutdown.phase)
    shutdown.enter(Phase.DRAINING, 0.0)
    shutdown.enter(Phase.ABORTING, 1.0)
    shutdown.enter(Phase.ABORTING, 2.0)

    assert [Phase.ABORTING] == told
