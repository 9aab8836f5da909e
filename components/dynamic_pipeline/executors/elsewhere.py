"""What a worker makes of an attempt that it has let run somewhere else: in a process, or on another machine.

There `run_attempt` turns whatever happens into an outcome, which is plain data; here that becomes what the work
itself would have returned or raised. So the rest of the line cannot tell where an attempt ran.
"""

from __future__ import annotations

import pickle
import sys
from typing import Any

from dynamic_pipeline.attempts import Attempt, Failed, Outcome, Succeeded, describe
from dynamic_pipeline.errors import AttemptFailed, Interrupted, PermanentError


class FailedElsewhere(AttemptFailed):
    """The attempt failed where it ran; *value* is what its error carried."""

    value: object = None


class FailedElsewhereForGood(FailedElsewhere, PermanentError):
    """The same, and another try would fail as well."""


def dump(attempt: Attempt) -> bytes:
    """*attempt* as bytes that can be sent.

    Raises:
        FailedElsewhereForGood: its record cannot be.
    """
    try:
        return pickle.dumps(attempt, pickle.HIGHEST_PROTOCOL)
    except Exception as error:  # whatever a record's own methods raise
        raise FailedElsewhereForGood(f"the record cannot be sent: {describe(error)}") from error


def load(answer: bytes) -> Outcome:
    """The outcome that was sent back.

    Raises:
        FailedElsewhereForGood: it cannot be read here: another try would send the like.
    """
    try:
        outcome: Outcome = pickle.loads(answer)  # noqa: S301 - from a process that runs the user's own code
    except BaseException as error:  # whatever a result's own methods raise
        raise FailedElsewhereForGood(f"the result cannot be read: {describe(error)}") from error
    return outcome


def value_of(outcome: Outcome) -> Any:
    """What the attempt returned.

    Raises:
        FailedElsewhere, FailedElsewhereForGood: it failed. Interrupted: it was cut short.
    """
    if isinstance(outcome, Succeeded):
        return outcome.value
    raise _error_of(outcome)  # no name for it here: error, traceback and frame would keep one another alive


def _error_of(failed: Failed) -> FailedElsewhere | Interrupted:
    error: FailedElsewhere | Interrupted
    if failed.is_interrupted:
        error = Interrupted(failed.error)
    else:
        error = (FailedElsewhere if failed.is_retryable else FailedElsewhereForGood)(failed.error)
    error.value = failed.value
    return error


def sent_back(outcome: Outcome) -> bytes:
    """*outcome* as bytes, made where the attempt ran; one that cannot be sent is a failure that says so."""
    outcome = _flushed(outcome)
    try:
        return pickle.dumps(outcome, pickle.HIGHEST_PROTOCOL)
    except BaseException as error:  # whatever a result's own methods raise
        if isinstance(outcome, Succeeded):
            text = f"the result cannot be sent back: {describe(error)}"
            outcome = Failed(text, outcome.elapsed_s, "", is_retryable=False)
        return pickle.dumps(outcome._replace(value=None))


def _flushed(outcome: Outcome) -> Outcome:
    """What the call has printed is out when its end is told; where it cannot be, the call has failed."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError) as error:
            if isinstance(outcome, Succeeded):
                outcome = Failed(describe(error), outcome.elapsed_s, outcome.worker)
    return outcome
