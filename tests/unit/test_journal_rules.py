"""The journal's pure rules: who is who, when a job is held, what may be tried again."""

from __future__ import annotations

import sqlite3

import pytest
from dynamic_pipeline.journal.faults import JournalBroken, JournalStuck, fault_of, opening_fault
from dynamic_pipeline.journal.held import ALONE_AFTER, HELD_AFTER, Caution, caution
from dynamic_pipeline.journal.identity import KEY_BYTES, differences, job_key, task_fingerprint, task_parts
from dynamic_pipeline.journal.numbers import MOST_JOBS, first_of, last_of, number_of, seq_of
from hypothesis import given
from hypothesis import strategies as st

TEXTS = st.text(st.characters(), max_size=20)  # lone surrogates included
PARTS = st.dictionaries(TEXTS, TEXTS, max_size=4)


@given(PARTS, PARTS)
def test_two_tasks_have_one_fingerprint_only_if_they_are_equal(
    one: dict[str, str], other: dict[str, str]
) -> None:
    """And then nothing differs."""
    is_same = task_fingerprint(one) == task_fingerprint(other)

    assert (one == other) == is_same


def test_moving_a_byte_from_one_part_to_the_next_is_another_task() -> None:
    """The length of each part is part of it."""
    prints = {task_fingerprint({"ab": "c"}), task_fingerprint({"a": "bc"}), task_fingerprint({"abc": ""})}

    assert 3 == len(prints)


@given(st.lists(st.binary(max_size=40), unique=True, max_size=8))
def test_different_records_have_different_keys(records: list[bytes]) -> None:
    """16 bytes each; the task matters too."""
    keys = [job_key(b"t" * 16, record) for record in records]
    others = [job_key(b"T" * 16, record) for record in records]

    assert len({*keys, *others}) == 2 * len(records)
    assert {KEY_BYTES} >= {len(key) for key in keys}


def test_keys_do_not_change_between_versions() -> None:
    """They are on disks: another value would run finished jobs again."""
    task = task_fingerprint(task_parts("command", "echo {}", cwd="/w", env=("B", "A")))

    assert "e374e3a15646f424a748507720f77a88" == task.hex()
    assert "dd04d0cf5102253e97ed00de6ad95133" == job_key(task, b"record").hex()


def test_what_differs_is_told_by_name() -> None:
    """Empty parts are not there; the order of the environment's names does not matter."""
    then = task_parts("command", "echo {}", cwd="/a", env=("X", "Y"))
    now = task_parts("command", "echo {.}", cwd="/a", env=("Y", "X"), version="2")

    assert ["text: was 'echo {}', is 'echo {.}'", "version: was '', is '2'"] == differences(then, now)
    assert [] == differences(then, dict(reversed(then.items())))


@pytest.mark.parametrize(
    ("interruptions", "alone", "then"),
    [
        (0, 0, Caution.NONE),
        (ALONE_AFTER - 1, 0, Caution.NONE),
        (ALONE_AFTER, 0, Caution.ALONE),
        (99, HELD_AFTER - 1, Caution.ALONE),
        (ALONE_AFTER + HELD_AFTER, HELD_AFTER, Caution.HELD),
        (HELD_AFTER, HELD_AFTER, Caution.HELD),
    ],
)
def test_only_a_job_that_was_alone_when_the_process_died_is_held(
    interruptions: int, alone: int, then: Caution
) -> None:
    """However often it was interrupted together with others."""
    assert then is caution(interruptions, alone)


def error(code: int) -> sqlite3.OperationalError:
    made = sqlite3.OperationalError("words")
    made.sqlite_errorcode = code
    made.sqlite_errorname = "NAME"
    return made


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (sqlite3.SQLITE_FULL, JournalStuck),
        (sqlite3.SQLITE_IOERR_WRITE, JournalStuck),
        (sqlite3.SQLITE_BUSY, JournalStuck),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, JournalStuck),
        (sqlite3.SQLITE_CANTOPEN, JournalStuck),
        (sqlite3.SQLITE_IOERR_FSYNC, JournalBroken),
        (sqlite3.SQLITE_IOERR_DIR_FSYNC, JournalBroken),
        (sqlite3.SQLITE_IOERR_READ, JournalBroken),
        (sqlite3.SQLITE_IOERR, JournalBroken),
        (sqlite3.SQLITE_CORRUPT, JournalBroken),
        (sqlite3.SQLITE_READONLY_DBMOVED, JournalBroken),
        (sqlite3.SQLITE_CONSTRAINT_CHECK, type(None)),
        (sqlite3.SQLITE_TOOBIG, type(None)),
        (sqlite3.SQLITE_MISMATCH, type(None)),
        (sqlite3.SQLITE_ERROR, type(None)),
    ],
)
def test_a_full_disk_is_worth_a_retry_a_failed_fsync_is_not_and_data_is_nobodys_fault(
    code: int, kind: type
) -> None:
    """By SQLite's own code: after a failed fsync the kernel may have dropped what it could not write."""
    assert kind is type(fault_of(error(code), "journal.db"))


def test_the_modules_own_refusals_are_about_data() -> None:
    """They carry no code."""
    assert fault_of(sqlite3.ProgrammingError("binding"), "journal.db") is None


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [(sqlite3.SQLITE_BUSY, 75), (sqlite3.SQLITE_NOTADB, 4), (sqlite3.SQLITE_CORRUPT, 4),
     (sqlite3.SQLITE_READONLY_DIRECTORY, 4), (sqlite3.SQLITE_CANTOPEN, 4), (sqlite3.SQLITE_FULL, 4)],
)  # fmt: skip
def test_at_the_start_nothing_is_worth_a_retry(code: int, exit_code: int) -> None:
    """Somebody else's lock has a code of its own."""
    assert exit_code == opening_fault(error(code), "journal.db").exit_code


@given(st.integers(0, 1 << 22), st.integers(1, MOST_JOBS))
def test_a_jobs_number_in_the_file_tells_its_work_and_its_own_number(work: int, seq: int) -> None:
    """And fits into 63 bits."""
    job = number_of(work, seq)

    assert seq == seq_of(job)
    assert first_of(work) < job <= last_of(work) < first_of(work + 1) + 1
    assert job < 1 << 63
