"""A Python call per record, in the worker's thread."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dynamic_pipeline.attempts import Attempt, Failed, Succeeded, run_attempt
from dynamic_pipeline.errors import PermanentError, UsageError
from dynamic_pipeline.jobs import Job
from dynamic_pipeline.records import Record
from dynamic_pipeline.reports import CallTrace
from dynamic_pipeline.work.callable import call_with_payload, call_with_record, kind_problem, resolve

MODULE = """
def fetch(record): return record.upper()
limit = 3
async def later(record): pass
def many(record): yield record
_hidden = 4
class Client:
    retries = 2
    @staticmethod
    def get(record): return ("got", record)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working folder; what is imported from it is forgotten."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != str(tmp_path)])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def refusal(name: str) -> tuple[str, str]:
    with pytest.raises(UsageError) as caught:
        resolve(name)
    return str(caught.value), caught.value.hint


def attempt(payload: Any) -> Attempt:
    return Attempt(Job(17, payload), 1)


def test_a_function_gets_the_payload_as_it_is() -> None:
    """As a library, whatever the iterable gave."""
    payload = {"a": 1}

    assert payload is call_with_payload(lambda given: given)(attempt(payload))


def test_a_function_gets_the_record_as_text() -> None:
    """UTF-8, with bytes that are none kept; what it returns is the result."""
    work = call_with_record(lambda text: (type(text), text))

    assert (str, "日本") == work(attempt(Record("日本".encode(), "in", 1)))
    assert (str, "\udcff") == work(attempt(Record(b"\xff", "in", 1)))


def test_a_bad_record_fails_without_a_call_and_without_retries() -> None:
    """Its problem is the error, and another try cannot help."""
    calls: list[str] = []
    record = Record(b"x", "in", 1, "the line is longer than 1048576 bytes")
    outcome = run_attempt(call_with_record(calls.append), attempt(record))

    assert isinstance(outcome, Failed)
    assert ("bad record: the line is longer than 1048576 bytes", False) == (
        outcome.error,
        outcome.is_retryable,
    )
    assert [] == calls


@pytest.mark.parametrize(
    ("error", "text", "is_retryable"),
    [
        (SystemExit(3), "SystemExit: 3", True),
        (KeyboardInterrupt(), "KeyboardInterrupt", True),
        (PermanentError("gone"), "PermanentError: gone", False),
    ],
)
def test_what_a_function_raises_is_the_failure_of_its_job(
    error: BaseException, text: str, is_retryable: bool
) -> None:
    """Whatever its class; only a permanent error is not tried again."""

    def raising(record: str) -> None:
        raise error

    outcome = run_attempt(call_with_record(raising), attempt(Record(b"x", "in", 1)))

    assert isinstance(outcome, Failed)
    assert (text, is_retryable) == (outcome.error, outcome.is_retryable)


@pytest.mark.parametrize(
    ("name", "result"),
    [
        ("own_jobs:fetch", "X"),
        ("own_jobs:Client.get", ("got", "x")),
        ("pkg.inner:fetch", "X"),
        ("builtins:len", 1),
        ("os.path:basename", "x"),
    ],
)
def test_a_function_is_found_in_the_working_folder_and_beyond(folder: Path, name: str, result: Any) -> None:
    """Modules, packages, attributes of attributes, the standard library."""
    (folder / "own_jobs.py").write_text(MODULE, encoding="utf-8")
    (folder / "pkg").mkdir()
    (folder / "pkg" / "inner.py").write_text(MODULE, encoding="utf-8")

    outcome = run_attempt(call_with_record(resolve(name)), attempt(Record(b"x", "in", 1)))

    assert isinstance(outcome, Succeeded)
    assert result == outcome.value


def test_the_working_folder_comes_first(folder: Path) -> None:
    """A module of the user's wins over one of the same name that is installed, as with `python -m`."""
    (folder / "sched.py").write_text("def mine(record): return 'mine'\n", encoding="utf-8")

    assert "mine" == resolve("sched:mine")("x")


@pytest.mark.parametrize("name", ["", "own_jobs", "own_jobs:", ":fetch", "own_jobs.fetch"])
def test_a_name_in_another_form_is_answered_with_the_form(name: str) -> None:
    """Module, colon, function."""
    assert (f'--call {name}: write it as "pkg.mod:func"', "") == refusal(name)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (None, "ModuleNotFoundError: No module named 'own_jobs'"),
        ("import nothing_like_it", "ModuleNotFoundError: No module named 'nothing_like_it'"),
        ("1/0", "ZeroDivisionError: division by zero"),
        ("raise SystemExit(0)", "SystemExit: 0"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("def broken(", "SyntaxError: "),
    ],
)
def test_a_module_that_cannot_be_imported_says_why(folder: Path, source: str | None, reason: str) -> None:
    """Whatever it raises, a refusal with the reason, before the first job."""
    if source is not None:
        (folder / "own_jobs.py").write_text(source, encoding="utf-8")

    text, _ = refusal("own_jobs:fetch")

    assert text.startswith(f"--call own_jobs:fetch: cannot import own_jobs: {reason}")


@pytest.mark.parametrize(
    ("path", "text", "hint"),
    [
        ("fetsh", "{where} has no fetsh", "did you mean fetch?"),
        ("zzz", "{where} has no zzz", ""),
        ("hidden", "{where} has no hidden", ""),
        ("Client.gett", "{where} has no gett", "did you mean get?"),
        ("limit.fetch", "{where} has no fetch", ""),
        ("limit", "limit of {where} cannot be called", "it must take one record"),
        (
            "later",
            "later of {where} is an async function: a call only makes a coroutine; wrap it in one that calls asyncio.run",
            "it must take one record",
        ),
        (
            "many",
            "many of {where} is a generator function: a call runs none of it; wrap it in one that iterates",
            "it must take one record",
        ),
        ("Client.retries", "Client.retries of {where} cannot be called", "it must take one record"),
    ],
)
def test_a_function_that_is_not_there_is_answered_with_a_near_one(
    folder: Path, path: str, text: str, hint: str
) -> None:
    """The file that was looked into, and the likely name."""
    (folder / "own_jobs.py").write_text(MODULE, encoding="utf-8")
    where = f"module own_jobs ({folder / 'own_jobs.py'})"

    assert (f"--call own_jobs:{path}: {text.format(where=where)}", hint) == refusal(f"own_jobs:{path}")


def test_where_a_function_raised_is_kept() -> None:
    """The traceback from the user's own function on, with none of our frames."""

    def inner(record: str) -> None:
        raise KeyError(record)

    def outer(record: str) -> None:
        inner(record)

    outcome = run_attempt(call_with_record(outer), Attempt(Job(1, Record(b"x", "in", 1)), 1))

    assert isinstance(outcome, Failed)
    assert ("KeyError: 'x'", True) == (outcome.error, outcome.is_retryable)
    assert isinstance(outcome.value, CallTrace)
    assert [" in outer", " in inner"] == re.findall(r" in \w+", outcome.value.text)
    assert "raise KeyError(record)" in outcome.value.tail().decode()


def test_a_function_without_room_for_a_record_is_refused() -> None:
    """Before the first job, and not by one failure per record."""
    assert "does not take one argument" == kind_problem(lambda: None)
    assert "" == kind_problem(print)
    assert "" == kind_problem(lambda record, more=1: (record, more))
