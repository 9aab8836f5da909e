"""A Python call per record, in the worker's thread."""

from __future__ import annotations

import difflib
import importlib
import inspect
import json
import sys
import traceback
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from dynamic_pipeline.attempts import Attempt, Work, describe
from dynamic_pipeline.errors import AttemptFailed, PermanentError, UsageError
from dynamic_pipeline.job_context import StopFlags
from dynamic_pipeline.records import Record
from dynamic_pipeline.reports import CallReport, CallTrace
from dynamic_pipeline.templates import BadRecord

_FRAMES = 20  # of a traceback, the innermost


class CallFailed(AttemptFailed):
    """The function raised."""

    value: CallTrace | None = None


class CannotCall(AttemptFailed, PermanentError):
    """The function cannot be found where it should run."""


class NotJson(AttemptFailed, PermanentError):
    """What a function returned cannot be recorded; another call would return the like."""


def kind_problem(fn: object) -> str:
    """Why a call of *fn* would do no work, empty if it would: such a job would "succeed" without having run."""
    if not callable(fn):
        return "cannot be called"
    if inspect.iscoroutinefunction(fn) or inspect.isasyncgenfunction(fn):
        return "is an async function: a call only makes a coroutine; wrap it in one that calls asyncio.run"
    if inspect.isgeneratorfunction(fn):
        return "is a generator function: a call runs none of it; wrap it in one that iterates"
    try:
        inspect.signature(fn).bind(None)
    except TypeError:
        return "does not take one argument"
    except ValueError:  # some built-in functions do not tell
        pass
    return ""


def call_with_payload(fn: Callable[[Any], Any]) -> Work:
    """Work that calls *fn* with the job's payload; what it returns is the result.

    A closure and not an object with `__call__`, which costs twice as much per call.
    """

    def work(attempt: Attempt) -> Any:
        return fn(attempt[0][1])  # attempt.job.payload

    return stoppable(work)


def call_with_record(fn: Callable[[Any], Any]) -> Work:
    """The same for records of an input: *fn* gets its text, or a dict of its fields."""

    def work(attempt: Attempt) -> Any:
        record: Record = attempt[0][1]
        if record.problem:
            raise BadRecord(f"bad record: {record.problem}")
        try:
            return fn(record.payload)
        except (AttemptFailed, PermanentError):
            raise
        except BaseException as error:  # whatever it is, it is this job's failure
            failure = CallFailed(describe(error))
            failure.value = CallTrace(_trace(error))
            raise failure from None

    return stoppable(work)


class CallOfPayload:
    """`call_with_payload` as plain data, for a function that can be pickled: it crosses processes and machines."""

    def __init__(self, fn: Callable[[Any], Any]) -> None:
        self._fn = fn

    def __call__(self, attempt: Attempt) -> Any:
        return self._fn(attempt.job.payload)


class CallByName:
    """`call_with_record` as plain data: the function is found where it is called, once per process.

    *folder* is where its module is looked for first, if that is a folder there.
    """

    def __init__(self, name: str, folder: str, *, returns_json: bool = False) -> None:
        self._name, self._folder, self._returns_json = name, folder, returns_json

    def __call__(self, attempt: Attempt) -> Any:
        return self.load()(attempt)

    def load(self) -> Work:
        """Find the function now: what that takes is no time of a call."""
        return _found(self._name, self._folder, self._returns_json)


@cache
def _found(name: str, folder: str, returns_json: bool) -> Work:
    try:
        fn = resolve(name, folder=folder)
    except UsageError as error:  # only this process cannot find it
        raise CannotCall(str(error)) from None
    return call_with_record(returning_json(fn) if returns_json else fn)


def _trace(error: BaseException) -> str:
    """The traceback from the user's function on; its own text is in the error."""
    entries = traceback.TracebackException.from_exception(error, limit=-_FRAMES).stack
    return "".join(entry for entry in entries.format() if __file__ not in entry)


def returning_json(fn: Callable[[Any], Any]) -> Callable[[Any], CallReport]:
    """*fn* with what it returns encoded as JSON, on the worker: a value that is none is its own job's failure."""

    def call(payload: Any) -> CallReport:
        value = fn(payload)
        try:
            return CallReport(json.dumps(value, allow_nan=False))
        except RecursionError:
            reason = "it is nested too deeply"
        except Exception as error:  # also what a value's own methods raise
            reason = str(error) if isinstance(error, (TypeError, ValueError)) else describe(error)
        raise NotJson(f"the returned {type(value).__name__} is no JSON: {reason}")

    return call


def stoppable(work: Callable[[Attempt], Any]) -> Work:
    """Give *work* the stop flags that `current_job` reads, and an `abort` that raises them all."""
    flags = StopFlags()
    work.stop_flags = flags  # type: ignore[attr-defined]
    work.abort = flags.set_all  # type: ignore[attr-defined]
    return work


def resolve(
    name: str, option: str = "--call", takes: str = "one record", folder: str | None = None
) -> Callable[[Any], Any]:
    """The function named `pkg.mod:func`, found as `python -m` finds modules: *folder* first, or the working folder.

    *option* is what the user gave it with, *takes* its one argument, in words.

    Raises:
        UsageError: no such module or function, or it cannot be called; the text says what to do.
    """
    module_name, colon, path = name.partition(":")
    if not colon or not module_name or not path:
        raise UsageError(f'{option} {name}: write it as "pkg.mod:func"')
    folder = str(Path.cwd()) if folder is None else folder
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        found: Any = importlib.import_module(module_name)
    except BaseException as error:  # the user's module runs here and may raise anything
        raise UsageError(f"{option} {name}: cannot import {module_name}: {describe(error)}") from error
    where = f"module {module_name} ({getattr(found, '__file__', None) or 'built in'})"
    for part in path.split("."):
        if not hasattr(found, part):
            near = difflib.get_close_matches(part, [n for n in dir(found) if not n.startswith("_")], 1)
            raise UsageError(
                f"{option} {name}: {where} has no {part}", hint=f"did you mean {near[0]}?" if near else ""
            )
        found = getattr(found, part)
    if problem := kind_problem(found):
        raise UsageError(f"{option} {name}: {path} of {where} {problem}", hint=f"it must take {takes}")
    return found  # type: ignore[no-any-return]  # the user's function: called with str, may return anything
