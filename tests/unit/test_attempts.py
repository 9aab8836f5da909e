"""One try at a job: whatever happens becomes a value."""

import threading
import weakref
from typing import Any

import pytest
from dynamic_pipeline.attempts import Attempt, Failed, Succeeded, describe, run_attempt
from dynamic_pipeline.errors import AttemptFailed, Interrupted, PermanentError
from dynamic_pipeline.job_context import current_job
from dynamic_pipeline.jobs import Job

from tests.doubles import Spawned

ATTEMPT = Attempt(Job(17, "record"), 2)


class HostileError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text for you")


class WrongTextError(Exception):
    def __str__(self) -> str:
        return None  # type: ignore[return-value]  # noqa: PLE0307 - the mistake under test


class CarryingError(AttemptFailed):
    value = ("out", "err")


class ForeignError(Exception):
    value = "a job's own attribute"


def failing(error: BaseException) -> Failed:
    def work(attempt: Attempt) -> Any:
        raise error

    outcome = run_attempt(work, ATTEMPT)
    assert isinstance(outcome, Failed)
    return outcome


def test_what_the_work_returns_is_the_outcome() -> None:
    """The value, the time it took, and the thread's name."""
    outcome = run_attempt(lambda attempt: (attempt.job.id, attempt.number), ATTEMPT)

    assert isinstance(outcome, Succeeded)
    assert ((17, 2), threading.current_thread().name) == (outcome.value, outcome.worker)
    assert outcome.elapsed_s >= 0


def test_the_outcome_names_the_worker_that_ran_it() -> None:
    """Each thread is named, also when it runs a second attempt."""

    def twice() -> list[str]:
        return [run_attempt(lambda _: None, ATTEMPT).worker for _ in range(2)]

    assert ["worker-07"] * 2 == Spawned(twice, "worker-07").result()
    assert ["worker-08"] * 2 == Spawned(twice, "worker-08").result()


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("bad"), "ValueError: bad"),
        (ValueError(), "ValueError"),
        (KeyError("name"), "KeyError: 'name'"),
        (SystemExit(3), "SystemExit: 3"),
        (SystemExit(), "SystemExit"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (GeneratorExit(), "GeneratorExit"),
        (StopIteration(1), "StopIteration: 1"),
        (ExceptionGroup("many", [ValueError()]), "ExceptionGroup: many (1 sub-exception)"),
        (HostileError(), "HostileError: (its text could not be read)"),
        (WrongTextError(), "WrongTextError: (its text could not be read)"),
        (PermanentError("no such user"), "PermanentError: no such user"),
        (AttemptFailed("exit 3"), "exit 3"),
        (AttemptFailed(), "AttemptFailed"),
        (Interrupted("cut short"), "cut short"),
    ],
)
def test_whatever_is_raised_becomes_a_failure_with_a_text(error: BaseException, text: str) -> None:
    """Every class of exception, also those that end processes and those that cannot say what they are."""
    assert text == failing(error).error


@pytest.mark.parametrize(
    ("error", "is_retryable", "is_interrupted"),
    [
        (ValueError(), True, False),
        (SystemExit(), True, False),
        (AttemptFailed("x"), True, False),
        (PermanentError("x"), False, False),
        (Interrupted("x"), True, True),
    ],
)
def test_only_a_permanent_error_cannot_be_retried_and_only_a_forced_stop_interrupts(
    error: BaseException, is_retryable: bool, is_interrupted: bool
) -> None:
    """The class of the error decides."""
    outcome = failing(error)

    assert (is_retryable, is_interrupted) == (outcome.is_retryable, outcome.is_interrupted)


@pytest.mark.parametrize(("error", "value"), [(CarryingError(), ("out", "err")), (ForeignError(), None)])
def test_only_our_own_errors_carry_a_value(error: BaseException, value: object) -> None:
    """The output of a command comes along; an attribute of the same name on a stranger's error does not."""
    assert value == failing(error).value


def test_a_description_is_never_empty() -> None:
    """An error of ours without a text is named by its class."""
    assert "Interrupted" == describe(Interrupted())


class Payload:
    """Something that can be seen to go."""


@pytest.mark.parametrize("error", [None, ValueError("x")])
def test_an_idle_thread_keeps_neither_the_last_work_nor_its_payload(error: Exception | None) -> None:
    """Whether it went well or not: a payload may be large, and a thread idle for hours."""

    def work(attempt: Attempt) -> None:
        if error is not None:
            raise error.with_traceback(None)

    payload = Payload()
    gone = weakref.ref(payload), weakref.ref(work)
    run_attempt(work, Attempt(Job(1, payload), 1))
    if error is not None:
        error.__traceback__ = None  # the test's own hold on the frame
    del payload, work

    assert (None, None) == (gone[0](), gone[1]())


def test_between_two_calls_no_job_runs_on_a_thread() -> None:
    """Whoever asks then hears of no job, and not of the last one."""
    assert 17 == run_attempt(lambda _: current_job().id, ATTEMPT).value
    with pytest.raises(LookupError):
        current_job()
